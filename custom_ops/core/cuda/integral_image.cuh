// Integral images: running sums along the rows of the input, which are stored in the table, then
// down the columns of the table, in place. The additions are made in double.
#ifndef BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_CUH_
#define BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_CUH_

#include "core/base/problem.h"
#include "core/cuda/box_conv_plan.h"
#include "core/cuda/platform.cuh"

namespace boxconv {
namespace cuda {

// Rows of interleaved channels: [images, height, width, channels], where channels first has images
// of one channel.
struct InterleavedImages {
  Index images, height, width, channels;
};

// Each warp takes the row of the input for one row of the table, in up to 32 channels. If there are
// fewer channels, it adds several positions at a time: with 8 channels, lanes 0 to 7 hold position
// x, lanes 8 to 15 position x + 1, and so on.
template <typename T, typename TTable>
__global__ void __launch_bounds__(kMaxThreads)
    sum_rows(InterleavedImages p, const T* input, TTable* table) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int channels = static_cast<int>(min_index(p.channels, kWarp)), at_once = kWarp / channels;
  const int channel_of_warp = lane % channels, position = lane / channels;
  const Index groups = (p.channels + channels - 1) / channels, rows = p.height + 1;
  const Index warps = static_cast<Index>(gridDim.x) * (blockDim.x / kWarp);
  for (Index i = (static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
       i < p.images * rows * groups; i += warps) {
    const Index channel = i % groups * channels + channel_of_warp, row = i / groups;
    const bool exists = channel < p.channels && position < at_once;
    const bool is_border = row % rows == 0;
    const T* const source =
        input + (row / rows * p.height + row % rows - 1) * p.width * p.channels + channel;
    TTable* const target = table + row * (p.width + 1) * p.channels + channel;
    if (exists && position == 0) *target = 0;
    double before = 0;
    for (Index x = position; x - position < p.width; x += at_once) {
      const bool has_pixel = exists && x < p.width;
      double sum = has_pixel && !is_border ? widen(load_constant(source + x * p.channels)) : 0.0;
      for (int distance = channels; distance < kWarp; distance *= 2) {
        const double left = __shfl_sync(0xffffffffu, sum, (lane - distance) & (kWarp - 1));
        if (lane >= distance) sum += left;
      }
      sum += before;
      if (has_pixel) target[(x + 1) * p.channels] = static_cast<TTable>(sum);
      before = __shfl_sync(0xffffffffu, sum, (at_once - 1) * channels + channel_of_warp);
    }
  }
}

// A block of threads takes 32 neighbouring columns, counted over all channels. Each warp first adds
// up a segment of the rows; the sums of the segments above are then the start of the next.
template <typename TTable>
__global__ void __launch_bounds__(kMaxThreads) sum_columns(InterleavedImages p, TTable* table) {
  double* const sums = dynamic_shared<double>();  // [warps, kWarp]
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = threadIdx.x / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const Index columns = (p.width + 1) * p.channels, groups = (columns + kWarp - 1) / kWarp;
  const Index length = (p.height + warps - 1) / warps;
  const Index begin = min_index(warp * length, p.height);
  const Index end = min_index(begin + length, p.height);
  for (Index i = blockIdx.x; i < p.images * groups; i += gridDim.x) {
    const Index column = i % groups * kWarp + lane;
    const bool exists = column < columns;
    TTable* const first = table + (i / groups * (p.height + 1) + 1) * columns + column;
    double sum = 0;
    BOXCONV_UNROLL_BY(8)
    for (Index y = begin; exists && warp < warps - 1 && y < end; ++y) sum += first[y * columns];
    sums[threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (int k = 0; k < warp; ++k) sum += sums[k * kWarp + lane];
    BOXCONV_UNROLL_BY(8)
    for (Index y = begin; exists && y < end; ++y) {
      sum += first[y * columns];
      first[y * columns] = static_cast<TTable>(sum);
    }
    __syncthreads();
  }
}

// Launches both kernels for some images at a time, so that their tables stay in the second-level
// cache. Device is described in box_conv_launch.cuh.
template <typename T, typename TTable, typename Device>
void launch_integral_image(Device& device, const IntegralImageProblem& problem, const T* input,
                           TTable* table) {
  const bool last = problem.layout == Layout::kChannelsLast;
  InterleavedImages p{problem.batch * (last ? 1 : problem.channels), problem.height, problem.width,
                      last ? problem.channels : 1};
  if (p.images * p.channels == 0) return;
  const GpuLimits& limits = device.limits();
  const Index image_size = p.height * p.width * p.channels;
  const Index table_size = (p.height + 1) * (p.width + 1) * p.channels;
  const Index table_bytes = table_size * static_cast<Index>(sizeof(TTable));
  const Index at_once = max_index(limits.chunk_bytes / table_bytes, 1);
  const int warps = static_cast<int>(clamp_index(p.height / 8, 1, limits.max_threads / kWarp));
  const Index row_groups = (p.channels + kWarp - 1) / kWarp;
  const Index column_groups = ((p.width + 1) * p.channels + kWarp - 1) / kWarp;
  for (Index image = 0, all = p.images; image < all; image += at_once) {
    p.images = min_index(at_once, all - image);
    const Index rows = p.images * (p.height + 1) * row_groups;
    const Index warps_of_rows = limits.max_threads / kWarp;
    const Index blocks = (rows + warps_of_rows - 1) / warps_of_rows;
    TTable* const tables = table + image * table_size;
    device.template launch<sum_rows<T, TTable>>(
        static_cast<int>(min_index(blocks, limits.max_blocks)), limits.max_threads, 0, p,
        input + image * image_size, tables);
    device.template launch<sum_columns<TTable>>(
        static_cast<int>(min_index(p.images * column_groups, limits.max_blocks)), warps * kWarp,
        warps * kWarp * static_cast<int>(sizeof(double)), p, tables);
  }
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_CUH_
