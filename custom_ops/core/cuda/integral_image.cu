// Integral images on a CUDA device: running sums along the rows of the input, which are stored in
// the table, then down the columns of the table, in place. The additions are made in double.
#include "core/base/dispatch.h"
#include "core/cuda/box_conv.h"
#include "core/cuda/box_conv_plan.h"
#include "core/cuda/device.cuh"
#include "core/cuda/platform.cuh"

namespace boxconv {
namespace cuda {

// Lines [images, lines, length, inner] with the sums [images, lines, length + 1, inner]. Only the
// images may be further apart, by these strides. Rows have the channels as inner values; columns
// have whole rows of the table, and there is one such line an image.
struct RunningSums {
  Index images, lines, length, inner;
  Index source_image, sums_image;
};

// Sets each line of `sums` to 0 and the running sums of a line of `source`, which may be the same
// memory as positions 1, 2, ... of the line of sums.
//
// A block of threads takes 32 of the inner values of a line, and each of its warps a segment of the
// line. If there are fewer inner values, a warp adds several positions at a time: with 8 values,
// lanes 0 to 7 hold position x, lanes 8 to 15 position x + 1, and so on. With several warps, each
// first adds up its segment; the sums of the segments before are then the start of the next.
template <typename Source, typename TTable>
__global__ void __launch_bounds__(kMaxThreads)
    add_along_lines(RunningSums p, const Source* source, TTable* sums) {
  constexpr int kBatch = 8;                         // values that a lane loads before it stores any
  double* const totals = dynamic_shared<double>();  // [warps, kWarp]
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = threadIdx.x / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int values = static_cast<int>(min_index(p.inner, kWarp)), at_once = kWarp / values;
  const int value = lane % values, position = lane / values;
  const Index groups = (p.inner + values - 1) / values;
  const Index segment = (p.length + warps - 1) / warps;
  const Index begin = min_index(warp * segment, p.length);
  const Index end = min_index(begin + segment, p.length);
  for (Index i = blockIdx.x; i < p.images * p.lines * groups; i += gridDim.x) {
    const Index inner = i % groups * values + value, line = i / groups;
    const Index image = line / p.lines, line_of_image = line % p.lines;
    const bool exists = inner < p.inner && position < at_once;
    const Source* const from =
        source + image * p.source_image + line_of_image * p.length * p.inner + inner;
    TTable* const to =
        sums + image * p.sums_image + line_of_image * (p.length + 1) * p.inner + inner;
    double before = 0;
    if (warps > 1) {
      double sum = 0;
      BOXCONV_UNROLL_BY(8)
      for (Index x = begin + position; exists && x < end; x += at_once) {
        sum += widen(from[x * p.inner]);
      }
      totals[threadIdx.x] = sum;
      __syncthreads();
      for (int k = 0; k < warp; ++k) {
        for (int j = value; j < kWarp; j += values) before += totals[k * kWarp + j];
      }
      __syncthreads();
    }
    if (exists && threadIdx.x < static_cast<unsigned>(values)) *to = 0;
    for (Index x = begin; x < end; x += kBatch * at_once) {
      double batch[kBatch];
      BOXCONV_UNROLL for (int k = 0; k < kBatch; ++k) {
        const Index at = x + k * at_once + position;
        batch[k] = exists && at < end ? widen(from[at * p.inner]) : 0.0;
      }
      BOXCONV_UNROLL for (int k = 0; k < kBatch; ++k) {
        if (x + k * at_once >= end) break;  // the same for all lanes
        for (int distance = values; distance < kWarp; distance *= 2) {
          const double left = __shfl_sync(0xffffffffu, batch[k], (lane - distance) & (kWarp - 1));
          if (lane >= distance) batch[k] += left;
        }
        batch[k] += before;
        const Index at = x + k * at_once + position;
        if (exists && at < end) to[(at + 1) * p.inner] = static_cast<TTable>(batch[k]);
        before = __shfl_sync(0xffffffffu, batch[k], (at_once - 1) * values + value);
      }
    }
  }
}

template <typename Source, typename TTable>
void launch_sums(Device& device, const RunningSums& p, int warps, const Source* source,
                 TTable* sums) {
  const Index blocks = p.images * p.lines * ((p.inner + kWarp - 1) / kWarp);
  device.launch<add_along_lines<Source, TTable>>(
      blocks, warps * kWarp, warps * kWarp * static_cast<int>(sizeof(double)), p, source, sums);
}

// Makes the tables of some images at a time, so that they stay in the second-level cache.
template <typename T, typename TTable>
void make_tables(Device& device, const IntegralImageProblem& p, const T* input, TTable* table) {
  // Channels first, each channel is an image.
  const bool last = p.layout == Layout::kChannelsLast;
  const Index images = p.batch * (last ? 1 : p.channels), channels = last ? p.channels : 1;
  if (images * channels == 0) return;
  const GpuLimits& limits = device.limits();
  const Index image_size = p.height * p.width * channels, row_size = (p.width + 1) * channels;
  const Index table_size = (p.height + 1) * row_size;
  const Index table_bytes = table_size * static_cast<Index>(sizeof(TTable));
  const Index at_once = max_index(limits.chunk_bytes / table_bytes, 1);
  const int warps = static_cast<int>(clamp_index(p.height / 8, 1, limits.max_threads / kWarp));
  for (Index image = 0; image < images; image += at_once) {
    const Index count = min_index(at_once, images - image);
    TTable *const tables = table + image * table_size, *const rows = tables + row_size;
    launch_sums(device, {count, p.height, p.width, channels, image_size, table_size}, 1,
                input + image * image_size, rows);
    launch_sums(device, {count, 1, p.height, row_size, table_size, table_size}, warps,
                static_cast<const TTable*>(rows), tables);
  }
}

template <typename T, typename TTable>
Status integral_image(const IntegralImageProblem& p, const T* input, TTable* table, void* stream) {
  // The table has one row and one column more than the image.
  if (!planes_fit(p.height + 1, p.width + 1, p.channels)) return Status(kPlanesTooLarge);
  Device device(stream);
  if (device.ok()) make_tables(device, p, input, table);
  return device.status();
}

#define INSTANTIATE(T, TTable) \
  template Status integral_image<T, TTable>(const IntegralImageProblem&, const T*, TTable*, void*);
BOXCONV_FOR_EACH_TABLE_TYPE(INSTANTIATE)
#undef INSTANTIATE

}  // namespace cuda
}  // namespace boxconv
