// Shared by all box convolution kernels: the channel that a thread handles, the positions of pixels
// in tensors, and accurate sums of many values.
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

// The position of a thread in its block. Neighbouring threads access neighbouring memory: channels
// of one pixel, or, if the plan is planar, pixels of one channel.
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
  int row_stride, pixel_stride;
  BOXCONV_DEVICE T& at(int y, int x) const {
    return data[static_cast<Index>(y) * row_stride + static_cast<Index>(x) * pixel_stride];
  }
};

// Loads a value that is not written while the kernel runs. The compiler may then move the load
// ahead of stores.
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

// With "valid", the factors of the rows and columns of each box, computed once for all kernels.
// Otherwise null.
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

// The positions of `count` sums: (line, x), (line + line_stride, x + x_stride), and so on.
struct SumPlaces {
  int line, x, line_stride, x_stride, count;
};

// Calls on_sum(line, x, sum) for each of the sums.
template <int kMost, typename V, typename OnSum>
BOXCONV_DEVICE void for_each_sum(const SumPlaces& at, const V* sums, const OnSum& on_sum) {
  BOXCONV_UNROLL for (int k = 0; k < kMost; ++k) {
    if (k < at.count) on_sum(at.line + k * at.line_stride, at.x + k * at.x_stride, sums[k]);
  }
}

// A long sum. fold() adds the current short chain, in type V, to a total in double.
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
