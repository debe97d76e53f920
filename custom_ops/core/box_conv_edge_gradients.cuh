// What the backward kernels do with sums along rows, and how edge gradients add up in a block.
#ifndef BOXCONV_CORE_BOX_CONV_EDGE_GRADIENTS_CUH_
#define BOXCONV_CORE_BOX_CONV_EDGE_GRADIENTS_CUH_

#include "core/box_conv_forward.cuh"

namespace boxconv {
namespace BOXCONV_ISA {

template <typename T, typename TBox, typename V>
struct BackwardCall {
  ForwardCall<T, TBox, V> forward;  // its output is not used
  const T* output_grad;
  T* input_grad;
  V* apart;         // input gradients of the chunk, where they do not add up in T; like column_sums
  double* records;  // edge gradients [slots, boxes of the call, group, 4], zero at first
};

// The record of a strip of a unit of the chunk.
template <typename T, typename TBox, typename V>
BOXCONV_DEVICE double* record_of(const BackwardCall<T, TBox, V>& call, Index unit, Index strip) {
  const BoxConvPlan& plan = call.forward.plan;
  return call.records + (unit * plan.slots_per_unit() + strip) * plan.group * 4;
}

// A thread's part of the gradients of its box's edges, in the order of a box.
struct EdgeGradients {
  double edge[4] = {0, 0, 0, 0};
};

// Adds up the parts of a block's threads, into the record of each channel.
BOXCONV_DEVICE void add_to_record(const BoxConvPlan& plan, const Team& team,
                                  const EdgeGradients& part, double* records) {
  double* sums = dynamic_shared<double>() + (team.lane * plan.group + team.channel) * 4;
  for (int i = 0; i < 4; ++i) sums[i] = part.edge[i];
  for (int half = plan.lanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (team.lane < half) {
      for (int i = 0; i < 4; ++i) sums[i] += sums[half * plan.group * 4 + i];
    }
  }
  if (team.lane == 0) {
    for (int i = 0; i < 4; ++i) records[team.channel * 4 + i] += sums[i];
  }
  __syncthreads();
}

// What a box's edges lose to "area" as they grow, where responses times their upstream gradients
// have this sum.
BOXCONV_DEVICE void add_extent_terms(const BoxEdges& box, double responses,
                                     EdgeGradients* gradients) {
  const double by_height = responses / box.height, by_width = responses / box.width;
  gradients->edge[0] += by_height;
  gradients->edge[1] += by_width;
  gradients->edge[2] -= by_height;
  gradients->edge[3] -= by_width;
}

// Input pixels that may lie outside: zero there.
template <typename T, typename V>
struct PaddedInput {
  Plane<const T> plane;
  int height, width;
  BOXCONV_DEVICE V at(int y, int x) const {
    if (!inside(y, height) || !inside(x, width)) return 0;
    return load_constant(&plane.at(y, x));
  }
};

// How far an edge is from its pixel, in 32 bits: beyond the longest axis all are outside alike.
BOXCONV_DEVICE int shift_within(EdgeShift edge) {
  return static_cast<int>(clamp_index(edge.offset, -kLongestAxis, kLongestAxis));
}

template <typename T, typename TBox, typename V>
BOXCONV_DEVICE PaddedInput<T, V> padded_input(const ForwardCall<T, TBox, V>& call,
                                              const Target& target) {
  const BoxConvProblem& p = call.plan.problem;
  return {input_plane(p, call.input, target.image, target.channel), static_cast<int>(p.height),
          static_cast<int>(p.width)};
}

// Multiplies g summed along rows with the input where the upper and lower edges lie.
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
  // The mirrored box's lower edge is the box's upper one.
  return {padded_input(call, target),
          static_cast<int>(first),
          shift_within(mirror.bottom),
          shift_within(mirror.top),
          {},
          {}};
}

// Adds a box's part to the input gradient, and multiplies it with the input.
template <typename T, typename V>
struct InputGradientSink {
  PaddedInput<T, V> input;
  Plane<T> input_grad;
  Plane<V> apart;
  bool sums_apart, first_box, last_box;
  Index first;
  LongSum<V> responses;

  template <int kMost>
  BOXCONV_DEVICE void take(const SumPlaces& at, const V* sums) {
    for_each_sum<kMost>(at, sums, [&](int line, int x, V sum) { add(line, x, sum); });
  }
  BOXCONV_DEVICE void add(int line, int x, V sum) {
    const int y = static_cast<int>(first) + line;
    responses.add(sum * load_constant(&input.plane.at(y, x)));
    if (!first_box) sum += sums_apart ? apart.at(y, x) : static_cast<V>(load(input_grad.at(y, x)));
    if (sums_apart && !last_box) {
      apart.at(y, x) = sum;
    } else {
      input_grad.at(y, x) = Store<T>::from(sum);
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
  V* apart = plan.accumulate_apart ? call.apart + unit * plan.unit_size() : nullptr;
  return {padded_input(call.forward, target),
          input_plane(p, call.input_grad, target.image, target.channel),
          column_sums_plane(plan, apart, 0, team.channel),
          plan.accumulate_apart,
          box_of_channel == 0,
          box_of_channel == p.boxes_per_channel - 1,
          first,
          {}};
}

// With "valid", what an output loses as an edge grows differs from output to output: multiplies the
// responses themselves with the upstream gradient and what they lose.
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
    const AxisScale by_row =
        axis_scale(p.normalization, box.top, box.bottom, box.height, y, p.height);
    const AxisScale by_column =
        axis_scale(p.normalization, box.left, box.right, box.width, x, p.width);
    gradients.edge[0] += loss * by_row.low_term;
    gradients.edge[1] += loss * by_column.low_term;
    gradients.edge[2] -= loss * by_row.high_term;
    gradients.edge[3] -= loss * by_column.high_term;
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

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_EDGE_GRADIENTS_CUH_
