// Forward kernels for planes beyond shared memory: columns first, then rows.
#ifndef BOXCONV_CORE_BOX_CONV_FORWARD_CUH_
#define BOXCONV_CORE_BOX_CONV_FORWARD_CUH_

#include "core/box_conv_planes.cuh"

namespace boxconv {
namespace BOXCONV_ISA {

template <typename T, typename TBox, typename V>
struct ForwardCall {
  BoxConvPlan plan;
  const T* input;
  const TBox* boxes;
  ValidFactors<V> factors;
  T* output;
  // Separate kernels: the units and the box of each channel that the call is about, and the column
  // sums between the kernels, [chunk, height, width, group] or [chunk, group, height, width].
  Index first_unit, unit_count, box_of_channel;
  V* column_sums;
};

// What a thread works at: a channel of an image and one of its boxes.
struct Target {
  Index image, channel, out_channel;
  bool exists;  // the last group may have channels to spare
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

// The windows of a target's box, or of the one that stands for it backward.
template <typename V>
BOXCONV_DEVICE LineWindow<V> column_window(const BoxConvProblem& p, const Target& target,
                                           const BoxEdges& box) {
  const int height = static_cast<int>(p.height);
  if (!target.exists || box.empty) return empty_window<V>(height);
  return line_window<V>(box.top, box.bottom, 1.0, height);
}
// Along rows the window also applies the part of the scale that all outputs share.
template <typename V>
BOXCONV_DEVICE LineWindow<V> row_window(const BoxConvProblem& p, const Target& target,
                                        const BoxEdges& box) {
  const int width = static_cast<int>(p.width);
  if (!target.exists || box.empty) return empty_window<V>(width);
  return line_window<V>(box.left, box.right, constant_scale<V>(p, target.edges), width);
}

// Stores responses. `first` is the output row that line 0 is.
template <typename T, typename V>
struct ResponseSink {
  Plane<T> output;
  const V *row_factors, *column_factors;
  int first, stride_y, stride_x;

  template <int kMost>
  BOXCONV_DEVICE void take(const SumPlaces& at, const V* sums) const {
    if (stride_x == 1 && row_factors == nullptr) {
      T* place = &output.at(first + at.line, at.x);
      const Index step = static_cast<Index>(at.line_step) * output.row_step +
                         static_cast<Index>(at.x_step) * output.pixel_step;
      BOXCONV_UNROLL for (int k = 0; k < kMost; ++k) {
        if (k < at.count) place[k * step] = Store<T>::from(sums[k]);
      }
    } else {
      for_each_sum<kMost>(at, sums, [&](int line, int x, V sum) { store(line, x, sum); });
    }
  }
  BOXCONV_DEVICE void store(int line, int x, V sum) const {
    if (x % stride_x != 0) return;
    const int y = first + line;
    if (row_factors != nullptr) {
      sum *= row_factors[static_cast<Index>(y) * stride_y] * column_factors[x];
    }
    output.at(y, x / stride_x) = Store<T>::from(sum);
  }
  BOXCONV_DEVICE void fold() const {}
};

template <typename T, typename TBox, typename V>
BOXCONV_DEVICE ResponseSink<T, V> response_sink(const ForwardCall<T, TBox, V>& call,
                                                const Target& target, Index first) {
  const BoxConvProblem& p = call.plan.problem;
  return {output_plane(p, call.output, target.image, target.out_channel),
          call.factors.rows(p, target.out_channel),
          call.factors.columns(p, target.out_channel),
          static_cast<int>(first),
          static_cast<int>(smaller(p.stride_y, kLongestAxis)),
          static_cast<int>(smaller(p.stride_x, kLongestAxis))};
}

// Sums a box's rows down the columns of an input plane that this thread has, into `sums`.
template <typename T, typename V>
BOXCONV_DEVICE void sum_input_columns(const BoxConvPlan& plan, const Team& team,
                                      const Target& target, const T* input, const Columns& columns,
                                      const Plane<V>& sums) {
  const BoxConvProblem& p = plan.problem;
  const auto window = column_window<V>(p, target, target.edges);
  const int height = static_cast<int>(p.height);
  const Rows rows = rows_of_segment(window, height, columns.segment);
  const Plane<const T> plane = input_plane(p, input, target.image, target.channel);
  for (int x = columns.begin + team.lane; x < columns.end; x += plan.lanes) {
    const T* column = plane.data + x * plane.pixel_step;
    const int step = plane.row_step;
    const auto raw = [column, step](int y) {
      return static_cast<V>(load_constant(column + static_cast<Index>(y) * step));
    };
    slide_column<kSteps<T>>(window, height, rows, raw, &sums.at(0, x), sums.row_step,
                            [](int, int, const V*) {});
  }
}

// Column sums of a strip of columns of a unit of the chunk.
template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) forward_columns(ForwardCall<T, TBox, V> call) {
  const BoxConvPlan& plan = call.plan;
  const Team team(plan);
  const Index strips = plan.column_strips() * plan.segments();
  for (Index i = blockIdx.x; i < call.unit_count * strips; i += gridDim.x) {
    const Index unit = i / strips;
    const Target target(plan, team.channel, call.boxes, call.first_unit + unit,
                        call.box_of_channel);
    if (!target.exists) continue;
    const Plane<V> sums = column_sums_plane(plan, call.column_sums, unit, team.channel);
    sum_input_columns(plan, team, target, call.input, columns_of_strip(plan, i % strips), sums);
  }
}

// Sums along the rows of strips: rows first, first + 1, ... of those that are summed, `stride` rows
// of the plane apart. A strip lies in shared memory, or, where no row fits there, in the workspace.
// source(target, y, x, column sum) are the rows' values; kOverwrites: they are not the column sums,
// and `stride` is 1.
// make_sink(target, unit of the chunk, first) says where sums along rows go, and done(sink, target,
// unit, strip), called by all threads, ends a strip.
template <typename T, bool kOverwrites, typename V, typename MakeTarget, typename Source,
          typename MakeSink, typename Done>
BOXCONV_DEVICE void sum_row_strips(const BoxConvPlan& plan, const Team& team, Index unit_count,
                                   Index row_count, Index stride, V* column_sums,
                                   const MakeTarget& make_target, const Source& source,
                                   const MakeSink& make_sink, const Done& done) {
  const BoxConvProblem& p = plan.problem;
  const int width = static_cast<int>(p.width);
  V* shared = dynamic_shared<V>();
  const RowSlider<kSteps<T>, V> rows{plan, team, shared + plan.stage_begin};
  const Index strips = plan.row_strips(row_count);
  for (Index i = blockIdx.x; i < unit_count * strips; i += gridDim.x) {
    const Index unit = i / strips, first = i % strips * plan.strip_rows;
    const int lines = static_cast<int>(smaller(plan.strip_rows, row_count - first));
    const auto target = make_target(unit);
    Plane<V> sums = column_sums_plane(plan, column_sums, unit, team.channel);
    sums.data += first * stride * sums.row_step;
    const Plane<V> buffer = plan.rows_in_shared ? buffer_plane(plan, shared, team.channel,
                                                               plan.strip_rows, plan.row_step)
                                                : sums;
    const Index line_step = plan.rows_in_shared ? buffer.row_step : stride * sums.row_step;
    if (target.exists && (plan.rows_in_shared || kOverwrites)) {
      fill_lines(plan, team, buffer, lines, width, [&](int line, int x) {
        const int below = static_cast<int>(line * stride), y = static_cast<int>(first * stride);
        return source(target, y + below, x, sums.at(below, x));
      });
    }
    __syncthreads();
    auto sink = make_sink(target, unit, first);
    if (target.exists) {
      rows.slide(target.window, buffer, line_step, lines, width, sink);
    }
    __syncthreads();
    done(sink, target, unit, first / plan.strip_rows);
  }
}

// The source where the column sums themselves are the rows.
struct ColumnSums {
  template <typename Target, typename V>
  BOXCONV_DEVICE V operator()(const Target&, int, int, V sum) const {
    return sum;
  }
};

// A target with its window along rows.
template <typename V>
struct RowTarget : Target {
  LineWindow<V> window;
};

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) forward_rows(ForwardCall<T, TBox, V> call) {
  const BoxConvProblem& p = call.plan.problem;
  const Team team(call.plan);
  sum_row_strips<T, false>(
      call.plan, team, call.unit_count, p.out_height(), p.stride_y, call.column_sums,
      [&](Index unit) {
        const Target target(call.plan, team.channel, call.boxes, call.first_unit + unit,
                            call.box_of_channel);
        return RowTarget<V>{target, row_window<V>(p, target, target.edges)};
      },
      ColumnSums(),
      [&](const Target& target, Index, Index first) { return response_sink(call, target, first); },
      [](const ResponseSink<T, V>&, const Target&, Index, Index) {});
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_FORWARD_CUH_
