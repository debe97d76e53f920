// Sums the edge gradients over threads, then over blocks, always in the same order, so that
// repeated calls give bit-identical results.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_EDGE_GRADIENTS_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_EDGE_GRADIENTS_CUH_

#include "core/cuda/box_conv_call.cuh"

namespace boxconv {
namespace cuda {

// The offset of an edge, in 32 bits. All offsets beyond the longest axis have the same effect.
BOXCONV_DEVICE int shift_within(EdgeShift edge) {
  return static_cast<int>(clamp_index(edge.offset, -kLongestAxis, kLongestAxis));
}

// A thread's contribution to the edge gradients of its box: (y_min, x_min, y_max, x_max).
struct EdgeGradients {
  double edge[4] = {0, 0, 0, 0};
};

// Sums the contributions of a block's threads and adds them to partials [group, 4].
BOXCONV_DEVICE void add_to_partial(const BoxConvPlan& plan, const Team& team,
                                   const EdgeGradients& part, double* partials) {
  double* sums = dynamic_shared<double>() + (team.lane * plan.group + team.channel) * 4;
  for (int i = 0; i < 4; ++i) sums[i] = part.edge[i];
  for (int half = plan.lanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (team.lane < half) {
      for (int i = 0; i < 4; ++i) sums[i] += sums[half * plan.group * 4 + i];
    }
  }
  if (team.lane == 0) {
    for (int i = 0; i < 4; ++i) partials[team.channel * 4 + i] += sums[i];
  }
  __syncthreads();
}

// Adds the derivative of the normalization "area": d(1/A)/d(edge) = -1/(A * extent) for a growing
// edge. `responses` is the sum of out * output_grad.
BOXCONV_DEVICE void add_extent_terms(const BoxEdges& box, double responses,
                                     EdgeGradients* gradients) {
  const double by_height = responses / box.height, by_width = responses / box.width;
  gradients->edge[0] += by_height;
  gradients->edge[1] += by_width;
  gradients->edge[2] -= by_height;
  gradients->edge[3] -= by_width;
}

// Adds the derivative of the normalization "valid". It differs from output to output, so it needs
// the responses themselves.
template <typename T, typename V>
struct ValidExtentSink {
  const BoxConvProblem& p;
  const BoxEdges& box;
  Plane<const T> output_grad;
  const V *row_factors, *column_factors;
  Index first;
  EdgeGradients gradients;

  template <int kMost>
  BOXCONV_DEVICE void take(const SumPlaces& at, const V* sums) {
    for_each_sum<kMost>(at, sums, [&](int line, int x, V sum) { add(line, x, sum); });
  }
  BOXCONV_DEVICE void add(int line, int x, V sum) {
    if (p.stride_x > 1 && x % p.stride_x != 0) return;
    const int out_y = static_cast<int>(first) + line;
    const Index y = out_y * p.stride_y;
    const double response = sum * (row_factors[y] * column_factors[x]);
    const double grad = load_constant(&output_grad.at(out_y, static_cast<int>(x / p.stride_x)));
    const double loss = grad * response;
    const AxisFactor by_row =
        axis_factor(p.normalization, box.top, box.bottom, box.height, y, p.height);
    const AxisFactor by_column =
        axis_factor(p.normalization, box.left, box.right, box.width, x, p.width);
    gradients.edge[0] += loss * by_row.min_growth;
    gradients.edge[1] += loss * by_column.min_growth;
    gradients.edge[2] -= loss * by_row.max_growth;
    gradients.edge[3] -= loss * by_column.max_growth;
  }
  BOXCONV_DEVICE void fold() const {}
};

template <typename T, typename TBox, typename V>
BOXCONV_DEVICE ValidExtentSink<T, V> valid_extent_sink(const BackwardCall<T, TBox, V>& call,
                                                       const Target& target, Index first) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  const BoxConvProblem& p = forward.plan.problem;
  return {p,
          target.edges,
          output_plane(p, call.output_grad, target.image, target.out_channel),
          forward.factors.rows(p, target.out_channel),
          forward.factors.columns(p, target.out_channel),
          first,
          {}};
}

// The boxes of each channel that one launch handles: one, or, if fused, all of them.
BOXCONV_HOST_DEVICE Index boxes_of_call(const BoxConvPlan& plan) {
  return plan.is_fused() ? plan.problem.boxes_per_channel : 1;
}

constexpr int kAddingThreads = 128;

// Adds the partial edge gradients of units [first_unit, first_unit + unit_count) to edges [boxes,
// 4], always in the same order. A block sums one box; threads with the same number modulo 4 sum the
// same edge.
static __global__ void __launch_bounds__(kAddingThreads)
    add_partials(BoxConvPlan plan, Index first_unit, Index unit_count, Index box_of_channel,
                 const double* partials, double* edges) {
  const BoxConvProblem& p = plan.problem;
  const Index boxes = boxes_of_call(plan), partials_per_unit = plan.partials_per_unit();
  const int thread = static_cast<int>(threadIdx.x), edge = thread % 4;
  double* sums = dynamic_shared<double>();
  for (Index i = blockIdx.x; i < p.channels * boxes; i += gridDim.x) {
    const Index m = i % boxes, channel = i / boxes, group = channel / plan.group;
    const Index behind = group - first_unit % plan.groups;
    const Index unit = behind < 0 ? behind + plan.groups : behind;
    const Index units = unit < unit_count ? (unit_count - unit + plan.groups - 1) / plan.groups : 0;
    double sum = 0;
    for (Index k = thread / 4; k < units * partials_per_unit; k += kAddingThreads / 4) {
      const Index partial =
          (unit + k / partials_per_unit * plan.groups) * partials_per_unit + k % partials_per_unit;
      sum += partials[((partial * boxes + m) * plan.group + channel % plan.group) * 4 + edge];
    }
    sums[thread] = sum;
    for (int half = kAddingThreads / 2; half >= 4; half /= 2) {
      __syncthreads();
      if (thread < half) sums[thread] += sums[thread + half];
    }
    if (thread < 4) {
      edges[(channel * p.boxes_per_channel + box_of_channel + m) * 4 + edge] += sums[thread];
    }
    __syncthreads();
  }
}

template <typename TBox>
__global__ void round_edges(Index count, const double* edges, TBox* boxes_grad) {
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += threads) {
    boxes_grad[i] = static_cast<TBox>(edges[i]);
  }
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_EDGE_GRADIENTS_CUH_
