// What the kernels of box convolution share on a GPU: which thread has which channel, how it finds
// pixels in tensors, and how it adds up long sums.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_PLANES_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_PLANES_CUH_

#include "core/base/half.h"
#include "core/cuda/box_conv_plan.h"
#include "core/cuda/box_conv_slide.cuh"
#include "core/cuda/platform.cuh"
#include "core/geometry/box_extent.h"
#include "core/geometry/box_reach.h"

namespace boxconv {
namespace cuda {

// A thread's place in its block. Neighbouring threads are neighbours in memory: channels of a pixel
// with channels last, pixels of a row with channels first, where a warp has one channel only.
struct Team {
  int channel, lane;  // of plan.group, of plan.lanes
  BOXCONV_DEVICE explicit Team(const BoxConvPlan& plan) {
    const int thread = static_cast<int>(threadIdx.x);
    channel = plan.is_planar() ? thread / plan.lanes : thread % plan.group;
    lane = plan.is_planar() ? thread % plan.lanes : thread / plan.group;
  }
};

// One channel of an image in a tensor.
template <typename T>
struct Plane {
  T* data;
  int row_step, pixel_step;
  BOXCONV_DEVICE T& at(int y, int x) const {
    return data[static_cast<Index>(y) * row_step + static_cast<Index>(x) * pixel_step];
  }
};

// A value that no kernel writes while this one runs, which lets the compiler read ahead of stores.
template <typename T>
BOXCONV_DEVICE auto load_constant(const T* value) {
#if defined(__CUDACC__)
  if constexpr (sizeof(T) == sizeof(unsigned short)) {
    return widen(bit_cast<T>(__ldg(reinterpret_cast<const unsigned short*>(value))));
  } else {
    return __ldg(value);
  }
#else
  return widen(*value);
#endif
}

template <typename T>
BOXCONV_DEVICE Plane<T> plane_of(Layout layout, T* data, Index image, Index height, Index width,
                                 Index channels, Index channel) {
  if (layout == Layout::kChannelsLast) {
    return {data + image * height * width * channels + channel, static_cast<int>(width * channels),
            static_cast<int>(channels)};
  }
  return {data + (image * channels + channel) * height * width, static_cast<int>(width), 1};
}

template <typename T>
BOXCONV_DEVICE Plane<T> input_plane(const BoxConvProblem& p, T* data, Index image, Index channel) {
  return plane_of(p.layout, data, image, p.height, p.width, p.channels, channel);
}
template <typename T>
BOXCONV_DEVICE Plane<T> output_plane(const BoxConvProblem& p, T* data, Index image,
                                     Index out_channel) {
  return plane_of(p.layout, data, image, p.out_height(), p.out_width(), p.out_channels(),
                  out_channel);
}

// With "valid", the factors of a box's rows and columns, made beforehand for all boxes; else null.
template <typename V>
struct ValidFactors {
  const V* table;  // [boxes, height + width]
  BOXCONV_DEVICE const V* rows(const BoxConvProblem& p, Index box) const {
    return table == nullptr ? nullptr : table + box * (p.height + p.width);
  }
  BOXCONV_DEVICE const V* columns(const BoxConvProblem& p, Index box) const {
    return table == nullptr ? nullptr : rows(p, box) + p.height;
  }
};

template <typename V, typename TBox>
__global__ void valid_factors(BoxConvProblem p, const TBox* boxes, V* table) {
  const Index length = p.height + p.width, total = p.out_channels() * length;
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < total;
       i += threads) {
    const BoxEdges box = box_edges(boxes + i / length * 4);
    const Index place = i % length;
    table[i] = box.empty          ? V{0}
               : place < p.height ? row_factor<V>(p, box, place)
                                  : column_factor<V>(p, box, place - p.height);
  }
}

// Sums that a thread hands on at once: `count` of them, at (line, x) and each time a step further.
struct SumPlaces {
  int line, x, line_step, x_step, count;
};

// What most takers of sums do with them: on_sum(line, x, sum).
template <int kMost, typename V, typename OnSum>
BOXCONV_DEVICE void for_each_sum(const SumPlaces& at, const V* sums, const OnSum& on_sum) {
  BOXCONV_UNROLL for (int k = 0; k < kMost; ++k) {
    if (k < at.count) on_sum(at.line + k * at.line_step, at.x + k * at.x_step, sums[k]);
  }
}

// A long sum: short chains in the planes' type, added up in double.
template <typename V>
class LongSum {
 public:
  BOXCONV_DEVICE void add(V value) { chain_ += value; }
  BOXCONV_DEVICE void fold() {
    total_ += chain_;
    chain_ = 0;
  }
  BOXCONV_DEVICE double total() const { return total_; }

 private:
  V chain_ = 0;
  double total_ = 0;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_PLANES_CUH_
