// Shared by the one-thread-per-line kernels, which handle lines that are too long for a warp. A
// window slides down each column of the input and writes its sums to the workspace. Then a window
// slides along each row of these sums, in place.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_BY_LINES_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_BY_LINES_CUH_

#include "core/cuda/box_conv_call.cuh"

namespace boxconv {
namespace cuda {

// The plane of this thread's channel in a buffer that holds `rows` rows of each channel.
template <typename V>
BOXCONV_DEVICE Plane<V> buffer_plane(const BoxConvPlan& plan, V* data, int channel, Index rows,
                                     int row_stride) {
  if (plan.channels_last()) return {data + channel, row_stride * plan.group, plan.group};
  return {data + channel * rows * row_stride, row_stride, 1};
}

// The column sums of this thread's channel in the workspace. `unit` counts from the start of the
// chunk.
template <typename V>
BOXCONV_DEVICE Plane<V> column_sums_plane(const BoxConvPlan& plan, V* column_sums, Index unit,
                                          int channel) {
  const BoxConvProblem& p = plan.problem;
  return buffer_plane(plan, column_sums + unit * plan.unit_size(), channel, p.height,
                      static_cast<int>(p.width));
}

// The output gradient at the resolution of the input: zero between outputs, and times the factor of
// "valid".
template <typename T, typename V>
struct GradientPlane {
  Plane<const T> plane;
  const V *row_factors, *column_factors;
  int stride_y, stride_x;

  BOXCONV_DEVICE V at(int y, int x) const {
    if (stride_y > 1 && y % stride_y != 0) return 0;
    if (stride_x > 1 && x % stride_x != 0) return 0;
    V value =
        load_constant(&plane.at(stride_y > 1 ? y / stride_y : y, stride_x > 1 ? x / stride_x : x));
    if (row_factors != nullptr) value *= row_factors[y] * column_factors[x];
    return value;
  }
};

template <typename T, typename V>
BOXCONV_DEVICE GradientPlane<T, V> gradient_plane(const BoxConvProblem& p, const T* output_grad,
                                                  const ValidFactors<V>& factors, Index image,
                                                  Index box) {
  // All strides beyond the longest plane have the same effect.
  const Index longest = kLongestAxis;
  return {output_plane(p, output_grad, image, box), factors.rows(p, box), factors.columns(p, box),
          static_cast<int>(min_index(p.stride_y, longest)),
          static_cast<int>(min_index(p.stride_x, longest))};
}

// Slides windows along rows, in place. Sums go to sink.take(places, sums), such that neighbouring
// threads get sums that are neighbours in memory. sink.fold() follows each take().
template <int kStepsAtOnce, typename V>
struct RowSlider {
  const BoxConvPlan& plan;
  const Team& team;
  V* stage;  // kStepsAtOnce + 1 values for each thread of the block

  template <typename Sink>
  BOXCONV_DEVICE void slide(const LineWindow<V>& window, const Plane<V>& buffer, Index line_stride,
                            int lines, int width, Sink& sink) const {
    // Channels first, a warp takes neighbouring lines and transposes their sums before the sink.
    const int in_warp = plan.channels_last() ? 0 : static_cast<int>(threadIdx.x) % kWarp;
    for (int line = team.lane; line - in_warp < lines; line += plan.lanes) {
      V* data = buffer.data + line * line_stride;
      const int step = buffer.pixel_stride;
      const auto raw = [data, step](int x) { return data[static_cast<Index>(x) * step]; };
      const Line<V, decltype(raw)> pixels{width, line < lines ? width : 0, raw};
      const SuffixSums<V, true> suffix_sums{data, step};
      Slider<kStepsAtOnce, true, V, decltype(raw)>(window, pixels, suffix_sums, 0, width)
          .slide([&](int x, int n, const V* sums) {
            if (plan.channels_last()) {
              sink.template take<kStepsAtOnce>(SumPlaces{line, x, 0, 1, n}, sums);
            } else {
              hand_over(in_warp, line - in_warp, lines, x, n, sums, sink);
            }
            sink.fold();
          });
    }
  }

 private:
  // Transposes sums within the warp, so that neighbouring threads get neighbouring sums of a line.
  template <typename Sink>
  BOXCONV_DEVICE void hand_over(int in_warp, int first, int lines, int x, int n, const V* sums,
                                Sink& sink) const {
    constexpr int kPadded = kStepsAtOnce + 1;  // to avoid bank conflicts
    V* of_warp = stage + (threadIdx.x / kWarp) * (kWarp * kPadded);
    BOXCONV_UNROLL for (int k = 0; k < kStepsAtOnce; ++k) of_warp[in_warp * kPadded + k] = sums[k];
    __syncwarp();
    constexpr int kRows = kWarp / kStepsAtOnce;  // lines that the warp reads at once
    const int step = in_warp % kStepsAtOnce, row = in_warp / kStepsAtOnce;
    V taken[kStepsAtOnce];
    BOXCONV_UNROLL for (int k = 0; k < kStepsAtOnce; ++k) {
      taken[k] = of_warp[(row + k * kRows) * kPadded + step];
    }
    __syncwarp();
    const int rows_left = lines - first - row;
    const int count = step < n && rows_left > 0 ? (rows_left + kRows - 1) / kRows : 0;
    sink.template take<kStepsAtOnce>(SumPlaces{first + row, x + step, kRows, 0, count}, taken);
  }
};

// Columns [begin, end) of a plane, and a segment of their rows.
struct Columns {
  int begin, end, segment;
};

// The columns and the segment of a strip.
BOXCONV_DEVICE Columns columns_of_strip(const BoxConvPlan& plan, Index strip) {
  const Index x = strip / plan.segments() * plan.lanes;
  return {static_cast<int>(x), static_cast<int>(min_index(x + plan.lanes, plan.problem.width)),
          static_cast<int>(strip % plan.segments())};
}

// The rows of a segment. A segment also reads as many rows as the window is high, so it is at least
// that long. Segments beyond the end of the column are empty.
struct Rows {
  int begin, end;
};

template <typename V>
BOXCONV_DEVICE Rows rows_of_segment(const LineWindow<V>& window, int height, int segment) {
  const Index rows = window.middle > kSegmentRows ? window.middle : kSegmentRows;
  const Index begin = min_index(segment * rows, height);
  return {static_cast<int>(begin), static_cast<int>(min_index(begin + rows, height))};
}

// Slides a window down some rows of a column with pixels raw(y). Stores the sums in `column`, and
// passes them to see(y, n, sums).
template <int kStepsAtOnce, typename V, typename Raw, typename See>
BOXCONV_DEVICE void slide_column(const LineWindow<V>& window, int height, const Rows& rows,
                                 const Raw& raw, V* column, int step, See&& see) {
  const Line<V, Raw> line{height, height, raw};
  const SuffixSums<V, false> suffix_sums{column, step};
  Slider<kStepsAtOnce, false, V, Raw>(window, line, suffix_sums, rows.begin, rows.end)
      .slide([&](int y, int n, const V* sums) {
        BOXCONV_UNROLL for (int k = 0; k < kStepsAtOnce; ++k) {
          if (k < n) column[static_cast<Index>(y + k) * step] = sums[k];
        }
        see(y, n, sums);
      });
}

// Fills the buffer of this thread's channel with value(line, x), several loads at a time.
template <typename V, typename Value>
BOXCONV_DEVICE void fill_lines(const BoxConvPlan& plan, const Team& team, const Plane<V>& buffer,
                               int lines, int width, const Value& value) {
  constexpr int kLoads = 8;
  for (int line = 0; line < lines; line += kLoads) {
    for (int x = team.lane; x < width; x += plan.lanes) {
      V values[kLoads];
      BOXCONV_UNROLL for (int k = 0; k < kLoads; ++k) {
        values[k] = line + k < lines ? value(line + k, x) : V{0};
      }
      BOXCONV_UNROLL for (int k = 0; k < kLoads; ++k) {
        if (line + k < lines) buffer.at(line + k, x) = values[k];
      }
    }
  }
}

// Sums along rows, strip by strip. Of row_count rows, row i is row i * stride of the plane. A strip
// is copied to shared memory, or, if not even one row fits there, summed in the workspace.
//   source(target, y, x, column_sum)   value of a row; kOverwrites: not just column_sum
//   make_sink(target, unit, first)     receives the sums of the strip that starts at row `first`
//   done(sink, target, unit, strip)    called by all threads at the end of a strip
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
    const int lines = static_cast<int>(min_index(plan.strip_rows, row_count - first));
    const auto target = make_target(unit);
    Plane<V> sums = column_sums_plane(plan, column_sums, unit, team.channel);
    sums.data += first * stride * sums.row_stride;
    const Plane<V> buffer = plan.rows_in_shared ? buffer_plane(plan, shared, team.channel,
                                                               plan.strip_rows, plan.row_stride)
                                                : sums;
    const Index line_stride = plan.rows_in_shared ? buffer.row_stride : stride * sums.row_stride;
    if (target.exists && (plan.rows_in_shared || kOverwrites)) {
      fill_lines(plan, team, buffer, lines, width, [&](int line, int x) {
        const int below = static_cast<int>(line * stride), y = static_cast<int>(first * stride);
        return source(target, y + below, x, sums.at(below, x));
      });
    }
    __syncthreads();
    auto sink = make_sink(target, unit, first);
    if (target.exists) {
      rows.slide(target.window, buffer, line_stride, lines, width, sink);
    }
    __syncthreads();
    done(sink, target, unit, first / plan.strip_rows);
  }
}

// A source: the rows are the column sums.
struct ColumnSums {
  template <typename Target, typename V>
  BOXCONV_DEVICE V operator()(const Target&, int, int, V sum) const {
    return sum;
  }
};

// A target and its window along rows.
template <typename V>
struct RowTarget : Target {
  LineWindow<V> window;
};

// The target of a unit, counted from the start of the chunk, with the window of its box, or of the
// mirrored box in the backward pass.
template <typename T, typename TBox, typename V>
BOXCONV_DEVICE RowTarget<V> row_target(const ForwardCall<T, TBox, V>& call, const Team& team,
                                       Index unit, bool backward) {
  const Target target(call.plan, team.channel, call.boxes, call.first_unit + unit,
                      call.box_of_channel);
  const BoxEdges box = backward ? backward_box(target.edges) : target.edges;
  return {target, row_window<V>(call.plan.problem, target, box)};
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_BY_LINES_CUH_
