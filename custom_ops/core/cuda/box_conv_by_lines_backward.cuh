// The backward kernels with one thread per line. core/cpu/box_conv_backward.h has the formulas. Let
// g be the output gradient and x the input. For each box,
//
//   gradient_rows        sums g along the rows; products with x give the gradients of y_min, y_max,
//   gradient_columns     sums g down the columns; products with x give those of x_min, x_max,
//   input_gradient_rows  sums the column sums along the rows, which gives the input gradient,
//   valid_extent_rows    adds the derivative of the normalization "valid".
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_BY_LINES_BACKWARD_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_BY_LINES_BACKWARD_CUH_

#include "core/cuda/box_conv_by_lines_forward.cuh"
#include "core/cuda/box_conv_edge_gradients.cuh"

namespace boxconv {
namespace cuda {

// The input, with zeros outside the plane.
template <typename T, typename V>
struct PaddedInput {
  Plane<const T> plane;
  int height, width;
  BOXCONV_DEVICE V at(int y, int x) const {
    if (!inside(y, height) || !inside(x, width)) return 0;
    return load_constant(&plane.at(y, x));
  }
};

template <typename T, typename TBox, typename V>
BOXCONV_DEVICE PaddedInput<T, V> padded_input(const ForwardCall<T, TBox, V>& call,
                                              const Target& target) {
  const BoxConvProblem& p = call.plan.problem;
  return {input_plane(p, call.input, target.image, target.channel), static_cast<int>(p.height),
          static_cast<int>(p.width)};
}

// Multiplies row sums of g with the input at the top and bottom edges.
template <typename T, typename V>
struct RowEdgeSink {
  PaddedInput<T, V> input;
  int first, to_y_min, to_y_max;
  LongSum<V> y_min, y_max;

  template <int kMost>
  BOXCONV_DEVICE void take(const SumPlaces& at, const V* sums) {
    for_each_sum<kMost>(at, sums, [&](int line, int x, V sum) { add(line, x, sum); });
  }
  BOXCONV_DEVICE void add(int line, int x, V sum) {
    const int y = first + line;
    y_min.add(sum * input.at(y - to_y_min, x));
    y_max.add(sum * input.at(y - to_y_max, x));
  }
  BOXCONV_DEVICE void fold() {
    y_min.fold();
    y_max.fold();
  }
  BOXCONV_DEVICE void add_to(EdgeGradients* gradients) const {
    gradients->edge[0] -= y_min.total();
    gradients->edge[2] += y_max.total();
  }
};

template <typename T, typename TBox, typename V>
BOXCONV_DEVICE RowEdgeSink<T, V> row_edge_sink(const ForwardCall<T, TBox, V>& call,
                                               const Target& target, Index first) {
  const BoxEdges mirror = backward_box(target.edges);
  // The bottom edge of the mirrored box is the top edge of the box.
  return {padded_input(call, target),
          static_cast<int>(first),
          shift_within(mirror.bottom),
          shift_within(mirror.top),
          {},
          {}};
}

// Adds the contribution of one box to the input gradient. Also multiplies it with the input, which
// gives the derivative of the normalization.
template <typename T, typename V>
struct InputGradientSink {
  PaddedInput<T, V> input;
  Plane<T> input_grad;
  Plane<V> workspace_sums;
  bool in_workspace, first_box, last_box;
  Index first;
  LongSum<V> responses;

  template <int kMost>
  BOXCONV_DEVICE void take(const SumPlaces& at, const V* sums) {
    for_each_sum<kMost>(at, sums, [&](int line, int x, V sum) { add(line, x, sum); });
  }
  BOXCONV_DEVICE void add(int line, int x, V sum) {
    const int y = static_cast<int>(first) + line;
    responses.add(sum * load_constant(&input.plane.at(y, x)));
    if (!first_box)
      sum += in_workspace ? workspace_sums.at(y, x) : static_cast<V>(widen(input_grad.at(y, x)));
    if (in_workspace && !last_box) {
      workspace_sums.at(y, x) = sum;
    } else {
      input_grad.at(y, x) = convert<T>(sum);
    }
  }
  BOXCONV_DEVICE void fold() { responses.fold(); }
  BOXCONV_DEVICE void add_to(const BoxConvProblem& p, const BoxEdges& box,
                             EdgeGradients* gradients) const {
    if (p.normalization == Normalization::kArea && !box.empty) {
      add_extent_terms(box, responses.total(), gradients);
    }
  }
};

template <typename T, typename TBox, typename V>
BOXCONV_DEVICE InputGradientSink<T, V> input_gradient_sink(const BackwardCall<T, TBox, V>& call,
                                                           const Target& target, Index unit,
                                                           Index first, Index box_of_channel,
                                                           const Team& team) {
  const BoxConvPlan& plan = call.forward.plan;
  const BoxConvProblem& p = plan.problem;
  V* workspace_sums =
      plan.sum_in_workspace ? call.input_grad_sums + unit * plan.unit_size() : nullptr;
  return {padded_input(call.forward, target),
          input_plane(p, call.input_grad, target.image, target.channel),
          column_sums_plane(plan, workspace_sums, 0, team.channel),
          plan.sum_in_workspace,
          box_of_channel == 0,
          box_of_channel == p.boxes_per_channel - 1,
          first,
          {}};
}

// Sums g down this thread's columns, and multiplies the sums with the input at the left and right
// edges.
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
  // The right edge of the mirrored box is the left edge of the box.
  const int to_x_min = shift_within(mirror.right), to_x_max = shift_within(mirror.left);
  LongSum<V> x_min, x_max;
  for (int x = columns.begin + team.lane; x < columns.end; x += plan.lanes) {
    const auto raw = [&gradient, x](int y) { return gradient.at(y, x); };
    slide_column<kSteps<T>>(window, height, rows, raw, &sums.at(0, x), sums.row_stride,
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
  const double scale = common_factor<V>(p, target.edges);
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
    add_to_partial(plan, team, gradients, partial_of(call, unit, i % strips));
  }
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) input_gradient_rows(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  const BoxConvProblem& p = forward.plan.problem;
  const Team team(forward.plan);
  sum_row_strips<T, false>(
      forward.plan, team, forward.unit_count, p.height, 1, forward.column_sums,
      [&](Index unit) { return row_target(forward, team, unit, /*backward=*/true); }, ColumnSums(),
      [&](const Target& target, Index unit, Index first) {
        return input_gradient_sink(call, target, unit, first, forward.box_of_channel, team);
      },
      [&](const InputGradientSink<T, V>& sink, const Target& target, Index unit, Index strip) {
        EdgeGradients gradients;
        sink.add_to(p, target.edges, &gradients);
        add_to_partial(forward.plan, team, gradients, partial_of(call, unit, strip));
      });
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) gradient_rows(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  const BoxConvProblem& p = forward.plan.problem;
  const Team team(forward.plan);
  sum_row_strips<T, true>(
      forward.plan, team, forward.unit_count, p.height, 1, forward.column_sums,
      [&](Index unit) { return row_target(forward, team, unit, /*backward=*/true); },
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
        add_to_partial(forward.plan, team, gradients, partial_of(call, unit, strip));
      });
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) valid_extent_rows(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  const BoxConvProblem& p = forward.plan.problem;
  const Team team(forward.plan);
  sum_row_strips<T, false>(
      forward.plan, team, forward.unit_count, p.out_height(), p.stride_y, forward.column_sums,
      [&](Index unit) { return row_target(forward, team, unit, /*backward=*/false); }, ColumnSums(),
      [&](const Target& target, Index, Index first) {
        return valid_extent_sink(call, target, first);
      },
      [&](const ValidExtentSink<T, V>& sink, const Target& target, Index unit, Index strip) {
        add_to_partial(forward.plan, team, target.edges.empty ? EdgeGradients() : sink.gradients,
                       partial_of(call, unit, strip));
      });
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_BY_LINES_BACKWARD_CUH_
