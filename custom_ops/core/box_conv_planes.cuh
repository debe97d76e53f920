// What the kernels of box convolution share on a GPU: which thread has which channel and lines, how
// it finds pixels in tensors and in buffers, and how sums along rows reach the tensor.
#ifndef BOXCONV_CORE_BOX_CONV_PLANES_CUH_
#define BOXCONV_CORE_BOX_CONV_PLANES_CUH_

#include "core/box_conv_plan.h"
#include "core/box_conv_slide.cuh"
#include "core/box_reach.h"
#include "core/box_scale.h"
#include "core/cuda_platform.cuh"
#include "core/half.h"

namespace boxconv {
namespace BOXCONV_ISA {

// A thread's place in its block. Neighbouring threads are neighbours in memory: channels of a pixel
// with channels last, pixels of a row with channels first, where a warp has one channel only.
struct Team {
  int channel, lane;  // of plan.group, of plan.lanes
  BOXCONV_DEVICE explicit Team(const BoxConvPlan& plan) {
    const int thread = static_cast<int>(threadIdx.x);
    channel = plan.is_planar() ? thread / plan.lanes : thread % plan.group;
    lane = plan.is_planar() ? thread % plan.lanes : thread / plan.group;
  }
};

// One channel of an image in a tensor.
template <typename T>
struct Plane {
  T* data;
  int row_step, pixel_step;
  BOXCONV_DEVICE T& at(int y, int x) const {
    return data[static_cast<Index>(y) * row_step + static_cast<Index>(x) * pixel_step];
  }
};

// A value that no kernel writes while this one runs, which lets the compiler read ahead of stores.
template <typename T>
BOXCONV_DEVICE auto load_constant(const T* value) {
#if defined(__CUDACC__)
  if constexpr (sizeof(T) == sizeof(unsigned short)) {
    return load(bit_cast<T>(__ldg(reinterpret_cast<const unsigned short*>(value))));
  } else {
    return __ldg(value);
  }
#else
  return load(*value);
#endif
}

template <typename T>
BOXCONV_DEVICE Plane<T> plane_of(Layout layout, T* data, Index image, Index height, Index width,
                                 Index channels, Index channel) {
  if (layout == Layout::kChannelsLast) {
    return {data + image * height * width * channels + channel, static_cast<int>(width * channels),
            static_cast<int>(channels)};
  }
  return {data + (image * channels + channel) * height * width, static_cast<int>(width), 1};
}

template <typename T>
BOXCONV_DEVICE Plane<T> input_plane(const BoxConvProblem& p, T* data, Index image, Index channel) {
  return plane_of(p.layout, data, image, p.height, p.width, p.channels, channel);
}
template <typename T>
BOXCONV_DEVICE Plane<T> output_plane(const BoxConvProblem& p, T* data, Index image,
                                     Index out_channel) {
  return plane_of(p.layout, data, image, p.out_height(), p.out_width(), p.out_channels(),
                  out_channel);
}

// A thread's channel of a buffer of `rows` rows for all of its block's channels.
template <typename V>
BOXCONV_DEVICE Plane<V> buffer_plane(const BoxConvPlan& plan, V* data, int channel, Index rows,
                                     int row_step) {
  if (plan.channels_last()) return {data + channel, row_step * plan.group, plan.group};
  return {data + channel * rows * row_step, row_step, 1};
}

// A thread's channel of the column sums of a unit of the chunk, in the workspace.
template <typename V>
BOXCONV_DEVICE Plane<V> column_sums_plane(const BoxConvPlan& plan, V* column_sums, Index unit,
                                          int channel) {
  const BoxConvProblem& p = plan.problem;
  return buffer_plane(plan, column_sums + unit * plan.unit_size(), channel, p.height,
                      static_cast<int>(p.width));
}

// With "valid", the factors of a box's rows and columns, made beforehand for all boxes; else null.
template <typename V>
struct ValidFactors {
  const V* table;  // [boxes, height + width]
  BOXCONV_DEVICE const V* rows(const BoxConvProblem& p, Index box) const {
    return table == nullptr ? nullptr : table + box * (p.height + p.width);
  }
  BOXCONV_DEVICE const V* columns(const BoxConvProblem& p, Index box) const {
    return table == nullptr ? nullptr : rows(p, box) + p.height;
  }
};

template <typename V, typename TBox>
__global__ void valid_factors(BoxConvProblem p, const TBox* boxes, V* table) {
  const Index length = p.height + p.width, total = p.out_channels() * length;
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < total;
       i += threads) {
    const BoxEdges box = box_edges(boxes + i / length * 4);
    const Index place = i % length;
    table[i] = box.empty          ? V{0}
               : place < p.height ? row_factor<V>(p, box, place)
                                  : column_factor<V>(p, box, place - p.height);
  }
}

// The upstream gradient at the input's pixels: zero between outputs, divided by the valid part.
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
  // A stride beyond the plane is as good as one that ends it.
  const Index longest = kLongestAxis;
  return {output_plane(p, output_grad, image, box), factors.rows(p, box), factors.columns(p, box),
          static_cast<int>(smaller(p.stride_y, longest)),
          static_cast<int>(smaller(p.stride_x, longest))};
}

// Sums that a thread hands on at once: `count` of them, at (line, x) and each time a step further.
struct SumPlaces {
  int line, x, line_step, x_step, count;
};

// What most takers of sums do with them: on_sum(line, x, sum).
template <int kMost, typename V, typename OnSum>
BOXCONV_DEVICE void for_each_sum(const SumPlaces& at, const V* sums, const OnSum& on_sum) {
  BOXCONV_UNROLL for (int k = 0; k < kMost; ++k) {
    if (k < at.count) on_sum(at.line + k * at.line_step, at.x + k * at.x_step, sums[k]);
  }
}

// Slides a window along the lines of a block's channels that lie in rows, in place. Sums go to
// sink.take(places, sums), in a warp's turn such that neighbouring threads have neighbours in
// memory; after each bunch comes sink.fold().
template <int kStepsAtOnce, typename V>
struct RowSlider {
  const BoxConvPlan& plan;
  const Team& team;
  V* stage;  // kStepsAtOnce + 1 values for each thread of the block

  template <typename Sink>
  BOXCONV_DEVICE void slide(const LineWindow<V>& window, const Plane<V>& buffer, Index line_step,
                            int lines, int width, Sink& sink) const {
    // Channels first, a warp stays together: it has neighbouring lines, and hands their sums over.
    const int in_warp = plan.channels_last() ? 0 : static_cast<int>(threadIdx.x) % kWarp;
    for (int line = team.lane; line - in_warp < lines; line += plan.lanes) {
      V* data = buffer.data + line * line_step;
      const int step = buffer.pixel_step;
      const auto raw = [data, step](int x) { return data[static_cast<Index>(x) * step]; };
      const Line<V, decltype(raw)> pixels{width, line < lines ? width : 0, raw};
      const Slots<V, true> slots{data, step};
      Slider<kStepsAtOnce, true, V, decltype(raw)>(window, pixels, slots, 0, width)
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
  // Neighbouring threads get neighbouring sums of a line.
  template <typename Sink>
  BOXCONV_DEVICE void hand_over(int in_warp, int first, int lines, int x, int n, const V* sums,
                                Sink& sink) const {
    constexpr int kPadded = kStepsAtOnce + 1;  // against bank conflicts
    V* of_warp = stage + (threadIdx.x / kWarp) * (kWarp * kPadded);
    BOXCONV_UNROLL for (int k = 0; k < kStepsAtOnce; ++k) of_warp[in_warp * kPadded + k] = sums[k];
    __syncwarp();
    constexpr int kRows = kWarp / kStepsAtOnce;  // that a warp takes at once
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

// Some columns of a plane, and which segment of each.
struct Columns {
  int begin, end, segment;
};

// The strip of columns, and their segment, that a block of the separate kernels has.
BOXCONV_DEVICE Columns columns_of_strip(const BoxConvPlan& plan, Index strip) {
  const Index x = strip / plan.segments() * plan.lanes;
  return {static_cast<int>(x), static_cast<int>(smaller(x + plan.lanes, plan.problem.width)),
          static_cast<int>(strip % plan.segments())};
}

// The rows of a segment. Each reads as many rows as the window is high once more, so that it has as
// many rows itself, or kSegmentRows; segments beyond the column have none.
struct Rows {
  int begin, end;
};

template <typename V>
BOXCONV_DEVICE Rows rows_of_segment(const LineWindow<V>& window, int height, int segment) {
  const Index rows = window.middle > kSegmentRows ? window.middle : kSegmentRows;
  const Index begin = smaller(segment * rows, height);
  return {static_cast<int>(begin), static_cast<int>(smaller(begin + rows, height))};
}

// Slides a window down some rows of a column: raw(y) are its pixels, and sums replace suffix sums
// in `column`. Each bunch of sums also goes to see(y, n, sums).
template <int kStepsAtOnce, typename V, typename Raw, typename See>
BOXCONV_DEVICE void slide_column(const LineWindow<V>& window, int height, const Rows& rows,
                                 const Raw& raw, V* column, int step, See&& see) {
  const Line<V, Raw> line{height, height, raw};
  const Slots<V, false> slots{column, step};
  Slider<kStepsAtOnce, false, V, Raw>(window, line, slots, rows.begin, rows.end)
      .slide([&](int y, int n, const V* sums) {
        BOXCONV_UNROLL for (int k = 0; k < kStepsAtOnce; ++k) {
          if (k < n) column[static_cast<Index>(y + k) * step] = sums[k];
        }
        see(y, n, sums);
      });
}

// Fills the lines of a thread's channel of a buffer with value(line, x), several loads at a time.
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

// A long sum: short chains in the planes' type, added up in double.
template <typename V>
class LongSum {
 public:
  BOXCONV_DEVICE void add(V value) { chain_ += value; }
  BOXCONV_DEVICE void fold() {
    total_ += chain_;
    chain_ = 0;
  }
  BOXCONV_DEVICE double total() const { return total_; }

 private:
  V chain_ = 0;
  double total_ = 0;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_PLANES_CUH_
