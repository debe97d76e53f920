// Box convolution followed by a 1x1 convolution, where the responses can stay in groups of rows
// (grouped_responses.h): the fast way.
#ifndef BOXCONV_CORE_CPU_RESPONSE_GROUPS_H_
#define BOXCONV_CORE_CPU_RESPONSE_GROUPS_H_

#include "core/base/half.h"
#include "core/base/problem.h"
#include "core/cpu/channel_mixing.h"
#include "core/cpu/grouped_responses.h"
#include "core/cpu/kept_array.h"
#include "core/cpu/kernels_mix_groups.h"
#include "core/cpu/large_planes.h"
#include "core/cpu/parallel_tiles.h"
#include "core/cpu/response_memory.h"
#include "core/cpu/tiling.h"
#include "core/geometry/box_reach.h"

namespace boxconv {

template <typename T, typename TBox>
class ResponseGroups {
 public:
  using V = typename PlaneType<T>::type;

  static bool suits(const BoxConvProblem& p, const TBox* boxes, bool backward) {
    const bool small = p.height * p.width < kMinPixels;
    if (small && small_plane_tiling<T>(p).worthwhile()) return false;
    if (kHasLargePlanesKernels<T> && has_large_planes(p)) return false;
    if (image_bytes(p) > kMaxImageBytes) return false;
    return has_whole_planes(p, forward_tiling_of(p, boxes)) &&
           (!backward || has_whole_planes(p, backward_tiling_of(p, reach_of(p, boxes, backward))));
  }

  // Check ok() before anything else.
  ResponseGroups(const SeparableBoxConvProblem& p, const TBox* boxes, bool backward,
                 const ParallelFor& parallel_for)
      : p_(p),
        boxes_(boxes),
        parallel_for_(parallel_for),
        images_(images_at_once(p.box_conv.batch, groups(1).image_stride * sizeof(V), 1)),
        responses_(images_ * groups(1).image_stride) {}

  bool ok() const { return responses_.ok(); }

  Index images_at_a_time() const { return images_; }

  // `next_input` are the next images, or null.
  Status forward(Index images, const T* input, const V* weights, const V* bias, const T* next_input,
                 T* output) const {
    const GroupedResponses r = groups(images);
    const Status status = respond(r, input);
    if (status != Status::kOk) return status;
    const double products = GroupedResponses::kBlockColumns * r.group_rows * p_.kernel_size();
    return run_in_parallel(
        r.block_count(GroupedResponses::kBlockColumns), product_cost(products), parallel_for_,
        [&](Index begin, Index end) {
          return BOXCONV_RUN_KERNEL(mix_groups(p_.box_conv, r, responses_.data(), weights, bias,
                                               next_input, output, begin, end));
        });
  }

  Status backward(Index images, const T* input, const V* weights, const T* output_grad,
                  T* input_grad, const GradientTotals& totals) const {
    const GroupedResponses r = groups(images);
    Status status = respond(r, input);
    if (status != Status::kOk) return status;
    const double row_products = static_cast<double>(r.width) * p_.kernel_size();
    const KernelGradientPlan plan(r.in_channels, r.out_channels, totals.parts);
    status = run_in_parallel(
        plan.unit_count(), product_cost(row_products * r.height * images / plan.unit_count()),
        parallel_for_, [&](Index begin, Index end) {
          return BOXCONV_RUN_KERNEL(add_group_kernel_gradients(
              r, plan, responses_.data(), output_grad, totals.kernel, begin, end));
        });
    if (status != Status::kOk) return status;
    // The gradients of the responses replace them.
    status = run_in_parallel(
        images * r.height, product_cost(row_products), parallel_for_, [&](Index begin, Index end) {
          return BOXCONV_RUN_KERNEL(
              response_gradients(r, weights, output_grad, responses_.data(), begin, end));
        });
    if (status != Status::kOk) return status;
    const BoxConvProblem part = of_images(images);
    // The planes of the gradients are whole, so tiles must read whole planes even if the boxes
    // reach less.
    const BoxReach whole{-part.height, -part.width, part.height, part.width};
    const Tiling tiling = backward_tiling_of(part, whole);
    const PartialEdgeGradients partial(images, part.boxes_size());
    if (!partial.ok()) return Status::kOutOfMemory;
    status = run_in_parallel(tiling.count(), tile_cost(part, tiling, kBackwardCost), parallel_for_,
                             [&](Index begin, Index end) {
                               return BOXCONV_RUN_KERNEL(grouped_backward(
                                   part, r, tiling, input, boxes_, responses_.data(), input_grad,
                                   partial.data(), begin, end));
                             });
    partial.add_to(totals.boxes);
    return status;
  }

 private:
  // Planes with fewer pixels use the kernels for small planes if there are enough images.
  static constexpr Index kMinPixels = 20 * 20;
  // The responses of an image take at most this much memory.
  static constexpr Index kMaxImageBytes = Index{24} << 20;

  static Index image_bytes(const BoxConvProblem& p) {
    return grouped_responses({p, /*filters=*/0}, 1, 1).image_stride * static_cast<Index>(sizeof(V));
  }

  static Tiling forward_tiling_of(const BoxConvProblem& p, const TBox* boxes) {
    return forward_tiling(p, reach_of(p, boxes, /*backward=*/false), max_channels_per_tile<T>());
  }
  static Tiling backward_tiling_of(const BoxConvProblem& p, const BoxReach& reach) {
    return backward_tiling(p, reach, max_channels_per_tile<T>());
  }

  BoxConvProblem of_images(Index images) const {
    BoxConvProblem part = p_.box_conv;
    part.batch = images;
    return part;
  }

  GroupedResponses groups(Index images) const {
    return grouped_responses(p_, images, BOXCONV_RUN_KERNEL(group_rows<T>()));
  }

  Status respond(const GroupedResponses& r, const T* input) const {
    const BoxConvProblem part = of_images(r.images);
    const Tiling tiling = forward_tiling_of(part, boxes_);
    return run_in_parallel(tiling.count(), tile_cost(part, tiling, kForwardCost), parallel_for_,
                           [&](Index begin, Index end) {
                             return BOXCONV_RUN_KERNEL(grouped_forward(
                                 part, r, tiling, input, boxes_, responses_.data(), begin, end));
                           });
  }

  const SeparableBoxConvProblem& p_;
  const TBox* boxes_;
  const ParallelFor& parallel_for_;
  Index images_;
  KeptArray<V> responses_;
};

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_RESPONSE_GROUPS_H_
