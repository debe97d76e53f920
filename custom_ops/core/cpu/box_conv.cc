// Plans the tiles of a problem and runs the kernels in parallel.
#include "core/cpu/box_conv.h"

#include "core/base/dispatch.h"
#include "core/cpu/box_conv_large_planes.h"
#include "core/cpu/instruction_sets.h"
#include "core/cpu/kernels.h"
#include "core/cpu/kernels_small_planes.h"
#include "core/cpu/large_planes.h"
#include "core/cpu/parallel_tiles.h"
#include "core/cpu/small_planes.h"
#include "core/cpu/tiling.h"
#include "core/geometry/box_reach.h"

namespace boxconv {
namespace {

// Rough cost of a unit of work in nanoseconds.
Index unit_cost(const BoxConvProblem& p, const SmallPlaneTiling& tiling, PixelCost cost) {
  const double pixels = static_cast<double>(p.height * p.width * tiling.planes_per_unit());
  return cost.nanoseconds(pixels, p.boxes_per_channel);
}

template <typename T, typename TBox>
Status small_planes_forward(const BoxConvProblem& p, const SmallPlaneTiling& tiling, const T* input,
                            const TBox* boxes, T* output, const ParallelFor& parallel_for) {
  return run_in_parallel(tiling.unit_count(), unit_cost(p, tiling, kForwardCost), parallel_for,
                         [&](Index begin, Index end) {
                           return BOXCONV_RUN_KERNEL(
                               small_planes_forward(p, tiling, input, boxes, output, begin, end));
                         });
}

template <typename T, typename TBox>
Status small_planes_backward(const BoxConvProblem& p, const SmallPlaneTiling& tiling,
                             const T* input, const TBox* boxes, const T* output_grad, T* input_grad,
                             TBox* boxes_grad, const ParallelFor& parallel_for) {
  PartialEdgeGradients partial(tiling.image_groups(), p.boxes_size());
  if (!partial.ok()) return Status::kOutOfMemory;
  const Status status = run_in_parallel(
      tiling.unit_count(), unit_cost(p, tiling, kBackwardCost), parallel_for,
      [&](Index begin, Index end) {
        return BOXCONV_RUN_KERNEL(small_planes_backward(p, tiling, input, boxes, output_grad,
                                                        input_grad, partial.data(), begin, end));
      });
  if (status == Status::kOk) partial.add_to(boxes_grad);
  return status;
}

// Images of one channel are the same in both layouts. Channels-first images are simpler to read.
BoxConvProblem simplest_layout(const BoxConvProblem& p) {
  BoxConvProblem simplest = p;
  const bool one_channel = p.channels == 1 && p.boxes_per_channel == 1 && p.image_channels <= 1;
  if (one_channel) simplest.layout = Layout::kChannelsFirst;
  return simplest;
}

}  // namespace

template <typename T, typename TBox>
Status box_conv_forward(const BoxConvProblem& problem, const T* input, const TBox* boxes, T* output,
                        const ParallelFor& parallel_for) {
  const BoxConvProblem p = simplest_layout(problem);
  if (p.height * p.width * p.out_channels() == 0) return Status::kOk;
  const SmallPlaneTiling small_planes = small_plane_tiling<T>(p);
  if (small_planes.worthwhile()) {
    return small_planes_forward(p, small_planes, input, boxes, output, parallel_for);
  }
  const BoxReach reach = reach_of(p, boxes, /*backward=*/false);
  if constexpr (kHasLargePlanesKernels<T>) {
    if (has_large_planes(p)) {
      bool ok = true;
      const Status status = large_planes_forward(p, reach, input, boxes, output, parallel_for, &ok);
      if (status != Status::kOk || ok) return status;
    }
  }
  const Tiling tiling = forward_tiling(p, reach, max_channels_per_tile<T>());
  return run_in_parallel(
      tiling.count(), tile_cost(p, tiling, kForwardCost), parallel_for,
      [&](Index begin, Index end) {
        return BOXCONV_RUN_KERNEL(forward_tiles(p, tiling, input, boxes, output, begin, end));
      });
}

template <typename T, typename TBox>
Status box_conv_backward(const BoxConvProblem& problem, const T* input, const TBox* boxes,
                         const T* output_grad, T* input_grad, TBox* boxes_grad,
                         const ParallelFor& parallel_for) {
  const BoxConvProblem p = simplest_layout(problem);
  const Index edges = p.boxes_size();
  for (Index i = 0; i < edges; ++i) boxes_grad[i] = 0;
  if (p.input_size() == 0) return Status::kOk;
  const SmallPlaneTiling small_planes = small_plane_tiling<T>(p);
  if (small_planes.worthwhile()) {
    return small_planes_backward(p, small_planes, input, boxes, output_grad, input_grad, boxes_grad,
                                 parallel_for);
  }
  const BoxReach reach = reach_of(p, boxes, /*backward=*/true);
  if constexpr (kHasLargePlanesKernels<T>) {
    if (has_large_planes(p) && p.normalization != Normalization::kValid) {
      bool ok = true;
      const Status status = large_planes_backward(p, reach, input, boxes, output_grad, input_grad,
                                                  boxes_grad, parallel_for, &ok);
      if (status != Status::kOk || ok) return status;
    }
  }
  const Tiling tiling = backward_tiling(p, reach, max_channels_per_tile<T>());
  PartialEdgeGradients partial(p.batch * tiling.rectangles_per_image(), edges);
  if (!partial.ok()) return Status::kOutOfMemory;
  const Status status = run_in_parallel(
      tiling.count(), tile_cost(p, tiling, kBackwardCost), parallel_for,
      [&](Index begin, Index end) {
        return BOXCONV_RUN_KERNEL(backward_tiles(p, tiling, input, boxes, output_grad, input_grad,
                                                 partial.data(), begin, end));
      });
  if (status == Status::kOk) partial.add_to(boxes_grad);
  return status;
}

template <typename T, typename TTable>
Status integral_image(const IntegralImageProblem& p, const T* input, TTable* table,
                      const ParallelFor& parallel_for) {
  const Index channels = p.layout == Layout::kChannelsFirst ? 1 : kIntegralImageChannels;
  const Index cost = 2 * (p.height + 1) * (p.width + 1) * channels;  // 2 nanoseconds an entry
  return run_in_parallel(
      p.batch * integral_image_groups(p), cost, parallel_for, [&](Index begin, Index end) {
        return BOXCONV_RUN_KERNEL(integral_image_planes(p, input, table, begin, end));
      });
}

#define INSTANTIATE(T, TBox)                                                                  \
  template Status box_conv_forward<T, TBox>(const BoxConvProblem&, const T*, const TBox*, T*, \
                                            const ParallelFor&);                              \
  template Status box_conv_backward<T, TBox>(const BoxConvProblem&, const T*, const TBox*,    \
                                             const T*, T*, TBox*, const ParallelFor&);
BOXCONV_FOR_EACH_BOX_TYPE(INSTANTIATE)
#undef INSTANTIATE

#define INSTANTIATE(T, TTable)                                                              \
  template Status integral_image<T, TTable>(const IntegralImageProblem&, const T*, TTable*, \
                                            const ParallelFor&);
BOXCONV_FOR_EACH_TABLE_TYPE(INSTANTIATE)
#undef INSTANTIATE

}  // namespace boxconv
