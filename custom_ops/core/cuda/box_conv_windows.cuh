// The windows of all boxes along both axes, and the factors of normalization "valid". They are
// computed once, into tables that all other kernels read.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_WINDOWS_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_WINDOWS_CUH_

#include "core/base/problem.h"
#include "core/cuda/platform.cuh"
#include "core/geometry/box_extent.h"
#include "core/geometry/box_window.h"

namespace boxconv {
namespace cuda {

// The sum at output i of a line is
//
//     first_weight * pixel[i + first] + weight * (the `middle` pixels between) + last_weight *
//     pixel[i + last]
//
// with pixels outside of the line being zero. If both edges lie in the same pixel, then first ==
// last, and last_weight is 0. The window of an empty box lies behind the line at every output.
template <typename V>
struct Window {
  int first, last, middle;
  V first_weight, weight, last_weight;
};

// The windows that are stored for each box.
enum WindowKind {
  kColumns,
  kRows,
  // The same sums as kRows. If the left edge lies on a pixel border, `first` is the pixel to its
  // left, which the edge enters when the box grows.
  kRowsOutward,
  // Of the mirrored box (backward_box).
  kMirroredColumns,
  kMirroredRows,
  kWindowKinds
};

// The factors that all outputs of a box share are part of the weights along rows.
template <typename V>
BOXCONV_DEVICE Window<V> window_of(const BoxConvProblem& p, BoxEdges box, WindowKind kind) {
  const bool down = kind == kColumns || kind == kMirroredColumns;
  const int length = static_cast<int>(down ? p.height : p.width);
  if (box.empty) return {length, length, 0, 0, 0, 0};
  const double factor = down ? 1.0 : common_factor<V>(p, box);
  if (kind == kMirroredColumns || kind == kMirroredRows) box = backward_box(box);
  if (kind == kRowsOutward && !(box.left.fraction > 0)) box.left = {box.left.offset - 1, 1.0};
  const SlidingWindow<V> w =
      sliding_window<V>(down ? box.top : box.left, down ? box.bottom : box.right, factor, length);
  const bool one_pixel = w.middle < 0;
  return {static_cast<int>(w.first),
          static_cast<int>(one_pixel ? w.first : w.last),
          static_cast<int>(one_pixel ? 0 : w.middle),
          w.first_weight,
          w.weight,
          w.last_weight};
}

// "valid": the factor of an output along one axis, and its growth (AxisFactor).
template <typename V>
struct ValidFactor {
  V factor, min_growth, max_growth;
};

// Fills windows[kWindowKinds][boxes]. If `factors` is not null, also factors[boxes][height +
// width]: those of the rows, then those of the columns.
template <typename V, typename TBox>
__global__ void make_tables(BoxConvProblem p, const TBox* boxes, Window<V>* windows,
                            ValidFactor<V>* factors) {
  const Index count = p.out_channels(), length = p.height + p.width;
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  const Index begin = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (Index i = begin; i < count * kWindowKinds; i += threads) {
    const BoxEdges box = box_edges(boxes + i % count * 4);
    windows[i] = window_of<V>(p, box, static_cast<WindowKind>(i / count));
  }
  for (Index i = begin; factors != nullptr && i < count * length; i += threads) {
    const BoxEdges box = box_edges(boxes + i / length * 4);
    const Index at = i % length, x = at - p.height;
    AxisFactor of{0, 0, 0};
    if (!box.empty) {
      of = x < 0 ? axis_factor(p.normalization, box.top, box.bottom, box.height, at, p.height)
                 : axis_factor(p.normalization, box.left, box.right, box.width, x, p.width);
    }
    factors[i] = {bounded_factor<V>(of.factor), bounded_factor<V>(of.min_growth),
                  bounded_factor<V>(of.max_growth)};
  }
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_WINDOWS_CUH_
