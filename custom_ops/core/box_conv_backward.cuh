// Backward kernels for planes beyond shared memory. With g the upstream gradient and x the input,
// of one box of a channel:
//   - g summed down the columns, then along the rows, is its part of the input gradient; times x it
//     is what growing any edge loses to normalization,
//   - the column sums times x where a left or right edge lies are the gradients of x_min and x_max,
//   - g summed along the rows, times x where an upper or lower edge lies, those of y_min and y_max.
// Edge gradients are summed within a block in a fixed order and kept apart for each block, then
// summed in order: no atomics, the same bits each time.
#ifndef BOXCONV_CORE_BOX_CONV_BACKWARD_CUH_
#define BOXCONV_CORE_BOX_CONV_BACKWARD_CUH_

#include "core/box_conv_edge_gradients.cuh"

namespace boxconv {
namespace BOXCONV_ISA {

// Sums g down the columns that this thread has, and multiplies with the input where the left and
// right edges lie.
template <typename T, typename TBox, typename V>
BOXCONV_DEVICE void sum_gradient_columns(const BackwardCall<T, TBox, V>& call, const Team& team,
                                         const Target& target, const Columns& columns,
                                         const Plane<V>& sums, EdgeGradients* gradients) {
  const BoxConvPlan& plan = call.forward.plan;
  const BoxConvProblem& p = plan.problem;
  const BoxEdges mirror = backward_box(target.edges);
  const auto window = column_window<V>(p, target, mirror);
  const auto gradient =
      gradient_plane(p, call.output_grad, call.forward.factors, target.image, target.out_channel);
  const PaddedInput<T, V> input = padded_input(call.forward, target);
  const int height = static_cast<int>(p.height);
  const Rows rows = rows_of_segment(window, height, columns.segment);
  // The mirrored box's right edge is the box's left one.
  const int to_x_min = shift_within(mirror.right), to_x_max = shift_within(mirror.left);
  LongSum<V> x_min, x_max;
  for (int x = columns.begin + team.lane; x < columns.end; x += plan.lanes) {
    const auto raw = [&gradient, x](int y) { return gradient.at(y, x); };
    slide_column<kSteps<T>>(window, height, rows, raw, &sums.at(0, x), sums.row_step,
                            [&](int y, int n, const V* values) {
                              BOXCONV_UNROLL for (int k = 0; k < kSteps<T>; ++k) {
                                if (k >= n) continue;
                                x_min.add(values[k] * input.at(y + k, x - to_x_min));
                                x_max.add(values[k] * input.at(y + k, x - to_x_max));
                              }
                              x_min.fold();
                              x_max.fold();
                            });
  }
  if (target.edges.empty) return;
  const double scale = constant_scale<V>(p, target.edges);
  gradients->edge[1] -= x_min.total() * scale;
  gradients->edge[3] += x_max.total() * scale;
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) gradient_columns(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  const BoxConvPlan& plan = forward.plan;
  const Team team(plan);
  const Index strips = plan.column_strips() * plan.segments();
  for (Index i = blockIdx.x; i < forward.unit_count * strips; i += gridDim.x) {
    const Index unit = i / strips;
    const Target target(plan, team.channel, forward.boxes, forward.first_unit + unit,
                        forward.box_of_channel);
    EdgeGradients gradients;
    if (target.exists) {
      const Plane<V> sums = column_sums_plane(plan, forward.column_sums, unit, team.channel);
      sum_gradient_columns(call, team, target, columns_of_strip(plan, i % strips), sums,
                           &gradients);
    }
    add_to_record(plan, team, gradients, record_of(call, unit, i % strips));
  }
}

template <typename T, typename TBox, typename V>
BOXCONV_DEVICE RowTarget<V> backward_target(const ForwardCall<T, TBox, V>& call, const Team& team,
                                            Index unit) {
  const Target target(call.plan, team.channel, call.boxes, call.first_unit + unit,
                      call.box_of_channel);
  return {target, row_window<V>(call.plan.problem, target, backward_box(target.edges))};
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) input_gradient_rows(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  const BoxConvProblem& p = forward.plan.problem;
  const Team team(forward.plan);
  sum_row_strips<T, false>(
      forward.plan, team, forward.unit_count, p.height, 1, forward.column_sums,
      [&](Index unit) { return backward_target(forward, team, unit); }, ColumnSums(),
      [&](const Target& target, Index unit, Index first) {
        return input_gradient_sink(call, target, unit, first, forward.box_of_channel, team);
      },
      [&](const InputGradientSink<T, V>& sink, const Target& target, Index unit, Index strip) {
        EdgeGradients gradients;
        sink.add_to(p, target.edges, &gradients);
        add_to_record(forward.plan, team, gradients, record_of(call, unit, strip));
      });
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) gradient_rows(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  const BoxConvProblem& p = forward.plan.problem;
  const Team team(forward.plan);
  sum_row_strips<T, true>(
      forward.plan, team, forward.unit_count, p.height, 1, forward.column_sums,
      [&](Index unit) { return backward_target(forward, team, unit); },
      [&](const Target& target, int y, int x, V) {
        return gradient_plane(p, call.output_grad, forward.factors, target.image,
                              target.out_channel)
            .at(y, x);
      },
      [&](const Target& target, Index, Index first) {
        return row_edge_sink(forward, target, first);
      },
      [&](const RowEdgeSink<T, V>& sink, const Target& target, Index unit, Index strip) {
        EdgeGradients gradients;
        if (!target.edges.empty) sink.add_to(&gradients);
        add_to_record(forward.plan, team, gradients, record_of(call, unit, strip));
      });
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) valid_extent_rows(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  const BoxConvProblem& p = forward.plan.problem;
  const Team team(forward.plan);
  sum_row_strips<T, false>(
      forward.plan, team, forward.unit_count, p.out_height(), p.stride_y, forward.column_sums,
      [&](Index unit) {
        const Target target(forward.plan, team.channel, forward.boxes, forward.first_unit + unit,
                            forward.box_of_channel);
        return RowTarget<V>{target, row_window<V>(p, target, target.edges)};
      },
      ColumnSums(),
      [&](const Target& target, Index, Index first) {
        return valid_extent_sink(call, target, first);
      },
      [&](const ValidExtentSink<T, V>& sink, const Target& target, Index unit, Index strip) {
        add_to_record(forward.plan, team, target.edges.empty ? EdgeGradients() : sink.gradients,
                      record_of(call, unit, strip));
      });
}

// The boxes of each channel that a call is about: one, or, fused, all of them at once.
BOXCONV_HOST_DEVICE Index boxes_of_call(const BoxConvPlan& plan) {
  return plan.is_fused() ? plan.problem.boxes_per_channel : 1;
}

constexpr int kAddingThreads = 128;

// Adds the records of the units [first_unit, first_unit + unit_count), always in the same order, to
// the edge gradients [boxes, 4]. A block has a box, and each fourth thread one of its edges.
static __global__ void __launch_bounds__(kAddingThreads)
    add_records(BoxConvPlan plan, Index first_unit, Index unit_count, Index box_of_channel,
                const double* records, double* edges) {
  const BoxConvProblem& p = plan.problem;
  const Index boxes = boxes_of_call(plan), slots = plan.slots_per_unit();
  const int thread = static_cast<int>(threadIdx.x), edge = thread % 4;
  double* sums = dynamic_shared<double>();
  for (Index i = blockIdx.x; i < p.channels * boxes; i += gridDim.x) {
    const Index m = i % boxes, channel = i / boxes, group = channel / plan.group;
    const Index behind = group - first_unit % plan.groups;
    const Index unit = behind < 0 ? behind + plan.groups : behind;
    const Index units = unit < unit_count ? (unit_count - unit + plan.groups - 1) / plan.groups : 0;
    double sum = 0;
    for (Index k = thread / 4; k < units * slots; k += kAddingThreads / 4) {
      const Index slot = (unit + k / slots * plan.groups) * slots + k % slots;
      sum += records[((slot * boxes + m) * plan.group + channel % plan.group) * 4 + edge];
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

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_BACKWARD_CUH_
