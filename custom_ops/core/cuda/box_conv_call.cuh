// The arguments of the box convolution kernels, and the windows of the boxes that a thread handles.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_CALL_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_CALL_CUH_

#include "core/cuda/box_conv_planes.cuh"

namespace boxconv {
namespace cuda {

template <typename T, typename TBox, typename V>
struct ForwardCall {
  BoxConvPlan plan;
  const T* input;
  const TBox* boxes;
  ValidFactors<V> factors;
  T* output;
  // Unless fused: the units and the box of each channel that this launch handles, and the column
  // sums, [chunk, height, width, group] or [chunk, group, height, width].
  Index first_unit, unit_count, box_of_channel;
  V* column_sums;
};

template <typename T, typename TBox, typename V>
struct BackwardCall {
  ForwardCall<T, TBox, V> forward;  // its output is not used
  const T* output_grad;
  T* input_grad;
  V* input_grad_sums;  // sums over the boxes of a channel, with the shape of column_sums
  double* partials;    // partial edge gradients [parts, boxes, group, 4], initially zero
};

// The channel of an image and the box that a thread handles.
struct Target {
  Index image, channel, out_channel;
  bool exists;  // false if the last group has more threads than channels are left
  BoxEdges edges = {};

  template <typename TBox>
  BOXCONV_DEVICE Target(const BoxConvPlan& plan, int channel_of_unit, const TBox* boxes, Index unit,
                        Index box_of_channel) {
    const BoxConvProblem& p = plan.problem;
    image = unit / plan.groups;
    channel = unit % plan.groups * plan.group + channel_of_unit;
    exists = channel < p.channels;
    out_channel = channel * p.boxes_per_channel + box_of_channel;
    edges.empty = true;
    if (exists) edges = box_edges(boxes + out_channel * 4);
  }
};

// The windows of `box`: the box of the target, or its mirror in the backward pass.
template <typename V>
BOXCONV_DEVICE LineWindow<V> column_window(const BoxConvProblem& p, const Target& target,
                                           const BoxEdges& box) {
  const int height = static_cast<int>(p.height);
  if (!target.exists || box.empty) return empty_window<V>(height);
  return line_window<V>(box.top, box.bottom, 1.0, height);
}
// The window along rows includes the factor that all outputs share.
template <typename V>
BOXCONV_DEVICE LineWindow<V> row_window(const BoxConvProblem& p, const Target& target,
                                        const BoxEdges& box) {
  const int width = static_cast<int>(p.width);
  if (!target.exists || box.empty) return empty_window<V>(width);
  return line_window<V>(box.left, box.right, common_factor<V>(p, target.edges), width);
}

// The partial edge gradients of a strip. `unit` counts from the start of the chunk.
template <typename T, typename TBox, typename V>
BOXCONV_DEVICE double* partial_of(const BackwardCall<T, TBox, V>& call, Index unit, Index strip) {
  const BoxConvPlan& plan = call.forward.plan;
  return call.partials + (unit * plan.partials_per_unit() + strip) * plan.group * 4;
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_CALL_CUH_
