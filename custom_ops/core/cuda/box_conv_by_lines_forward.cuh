// The forward kernels with one thread per line: first the columns, then the rows.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_BY_LINES_FORWARD_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_BY_LINES_FORWARD_CUH_

#include "core/cuda/box_conv_by_lines.cuh"

namespace boxconv {
namespace cuda {

// Stores responses. Line 0 is output row `first`.
template <typename T, typename V>
struct ResponseSink {
  Plane<T> output;
  const V *row_factors, *column_factors;
  int first, stride_y, stride_x;

  template <int kMost>
  BOXCONV_DEVICE void take(const SumPlaces& at, const V* sums) const {
    if (stride_x == 1 && row_factors == nullptr) {
      T* place = &output.at(first + at.line, at.x);
      const Index step = static_cast<Index>(at.line_stride) * output.row_stride +
                         static_cast<Index>(at.x_stride) * output.pixel_stride;
      BOXCONV_UNROLL for (int k = 0; k < kMost; ++k) {
        if (k < at.count) place[k * step] = convert<T>(sums[k]);
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
    output.at(y, x / stride_x) = convert<T>(sum);
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
          static_cast<int>(min_index(p.stride_y, kLongestAxis)),
          static_cast<int>(min_index(p.stride_x, kLongestAxis))};
}

// Slides the window of the box's rows down this thread's columns of the input. Stores the result in
// `sums`.
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
    const T* column = plane.data + x * plane.pixel_stride;
    const int step = plane.row_stride;
    const auto raw = [column, step](int y) {
      return static_cast<V>(load_constant(column + static_cast<Index>(y) * step));
    };
    slide_column<kSteps<T>>(window, height, rows, raw, &sums.at(0, x), sums.row_stride,
                            [](int, int, const V*) {});
  }
}

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

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) forward_rows(ForwardCall<T, TBox, V> call) {
  const BoxConvProblem& p = call.plan.problem;
  const Team team(call.plan);
  sum_row_strips<T, false>(
      call.plan, team, call.unit_count, p.out_height(), p.stride_y, call.column_sums,
      [&](Index unit) { return row_target(call, team, unit, /*backward=*/false); }, ColumnSums(),
      [&](const Target& target, Index, Index first) { return response_sink(call, target, first); },
      [](const ResponseSink<T, V>&, const Target&, Index, Index) {});
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_BY_LINES_FORWARD_CUH_
