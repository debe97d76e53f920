// The kernels of box convolution. slide_lines sums windows along one axis; two launches, one for
// columns and one for rows, make the forward pass, and four the backward pass
// (box_conv_launch.cuh).
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_KERNELS_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_KERNELS_CUH_

#include <type_traits>

#include "core/cuda/box_conv_tile.cuh"

namespace boxconv {
namespace cuda {

// What slide_lines computes. The products of a line are the sums, over its outputs, of the
// partner's value times the first pixel of the window, its last pixel, and its sum.
enum class Compute { kSums, kProducts, kSumsAndProducts };

// Products of a box: with the first and with the last pixel; with the sum; with the sum and
// ValidFactor's growth along positions (min, max) and along lines (min, max).
enum Product { kFirst, kLast, kSum, kPositionMin, kPositionMax, kLineMin, kLineMax, kProductCount };

// The arguments of slide_lines. Channels and boxes are counted from the first of the launch; the
// pointers are to its values. The source and the partner have one channel for each box, or one for
// `*_boxes` boxes.
template <typename Source, typename Output, typename T>
struct SlideCall {
  using V = typename PlaneType<T>::type;
  SlidePlan plan;
  int length, lines_per_image;
  Index images, boxes;
  const Window<V>* windows;  // [boxes]
  Lines<const Source> source;
  Lines<Output> output = {};  // no data: sums are not stored
  Lines<const T> partner = {};
  Index source_boxes = 1, partner_boxes = 1;
  // "valid", if the lines are rows: [boxes, factor_rows + length], the factors of all rows, then of
  // all columns. Line i is row i * line_step. The factors multiply the outputs and the partner. If
  // source_factors, those of columns multiply the source instead of the outputs.
  const ValidFactor<V>* factors = nullptr;
  Index factor_rows = 0, line_step = 1;
  bool source_factors = false;
  double* products = nullptr;  // [tile_count(), boxes of a group, kProductCount]
  V* tiles = nullptr;          // unless plan.in_shared: a tile for each block of threads

  BOXCONV_HOST_DEVICE Index lines() const { return images * lines_per_image; }
  BOXCONV_HOST_DEVICE Index groups() const { return (boxes + plan.boxes - 1) / plan.boxes; }
  BOXCONV_HOST_DEVICE Index tile_count() const {
    return groups() * ((lines() + plan.lines - 1) / plan.lines);
  }
  BOXCONV_DEVICE const ValidFactor<V>* row_factors(Index box) const {
    return factors + box * (factor_rows + length);
  }
  BOXCONV_DEVICE const ValidFactor<V>* column_factors(Index box) const {
    return row_factors(box) + factor_rows;
  }
};

// Calls body(k, index) for the outputs begin + k, k < 8, that are stored: those before `end`, at
// multiples of `step`. Output index * step is stored at `index`.
template <typename Body>
BOXCONV_DEVICE void for_each_stored(int begin, int end, int step, const Body& body) {
  if (step == 1 && begin + kGroup <= end) {
    BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) body(k, begin + k);
    return;
  }
  int index = (begin + step - 1) / step, next = index * step - begin;
  BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) {
    if (k != next || begin + k >= end) continue;
    body(k, index++);
    next += step;
  }
}

// One lane's work: the outputs of one segment of one line for one box.
template <Compute kCompute, typename Source, typename Output, typename T>
class LaneWork {
 public:
  using V = typename PlaneType<T>::type;
  static constexpr bool kHasSums = kCompute != Compute::kProducts;
  static constexpr bool kHasProducts = kCompute != Compute::kSums;

  BOXCONV_DEVICE LaneWork(const SlideCall<Source, Output, T>& call, Index box, Index line,
                          int segment)
      : call_(call), window_(call.windows[box]) {
    const Index image = line / call.lines_per_image;
    line = line % call.lines_per_image;
    begin_ = segment * call.plan.segment_length;
    const int end = begin_ + call.plan.segment_length;
    end_ = end < call.length ? end : call.length;
    if (call.output.data != nullptr) output_ = call.output.at(image, box, line);
    if (kHasProducts) partner_ = call.partner.at(image, box / call.partner_boxes, line);
    if (call.factors != nullptr) {
      factors_ = call.column_factors(box);
      line_factor_ = call.row_factors(box)[line * call.line_step];
    }
  }

  template <typename Line>
  BOXCONV_DEVICE void run(const Line& line) {
    slide<kHasSums>(window_, line, begin_, end_,
                    [this](int i, const V* first, const V* middle, const V* last) {
                      V sums[kGroup];
                      if (kHasSums) {
                        BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) {
                          sums[k] = window_.weight * middle[k] + window_.first_weight * first[k] +
                                    window_.last_weight * last[k];
                        }
                        if (output_ != nullptr) store(i, sums);
                      }
                      if (kHasProducts) multiply(i, first, last, sums);
                    });
  }

  // Stores the products of this lane in products[kProductCount].
  BOXCONV_DEVICE void store_products(double* products) const {
    const double factor = line_factor_.factor;
    products[kFirst] = first_.wide() * factor;
    products[kLast] = last_.wide() * factor;
    products[kSum] = sum_.wide() * factor;
    products[kPositionMin] = min_growth_.wide() * factor;
    products[kPositionMax] = max_growth_.wide() * factor;
    products[kLineMin] = products[kSum] * line_factor_.min_growth;
    products[kLineMax] = products[kSum] * line_factor_.max_growth;
  }

 private:
  BOXCONV_DEVICE void store(int i, V* sums) const {
    const Lines<Output>& output = call_.output;
    if (factors_ != nullptr) {
      const bool both = !call_.source_factors;
      for_each_stored(i, end_, 1, [&](int k, int at) {
        sums[k] *= line_factor_.factor * (both ? factors_[at].factor : V{1});
      });
    }
    const bool packets = output.position == 1 && output.step == 1 && i + kGroup <= end_;
    if (packets && store_packets<kGroup>(output_ + i, sums)) return;
    for_each_stored(i, end_, output.step, [&](int k, int at) {
      output_[static_cast<Index>(at) * output.position] = convert<Output>(sums[k]);
    });
  }

  // Products are added in V over eight outputs, then in a Pair.
  BOXCONV_DEVICE void multiply(int i, const V* first, const V* last, const V* sums) {
    V by_first = 0, by_last = 0, by_sum = 0, by_min = 0, by_max = 0;
    for_each_stored(i, end_, call_.partner.step, [&](int k, int at) {
      V value = widen(load_constant(partner_ + static_cast<Index>(at) * call_.partner.position));
      if (kHasSums && factors_ != nullptr) {
        const ValidFactor<V> factor = factors_[i + k];
        value *= factor.factor;
        by_min += value * sums[k] * factor.min_growth;
        by_max += value * sums[k] * factor.max_growth;
      }
      by_first += value * first[k];
      by_last += value * last[k];
      if (kHasSums) by_sum += value * sums[k];
    });
    first_.add(by_first);
    last_.add(by_last);
    if (kHasSums) sum_.add(by_sum);
    if (kHasSums && factors_ != nullptr) {
      min_growth_.add(by_min);
      max_growth_.add(by_max);
    }
  }

  const SlideCall<Source, Output, T>& call_;
  const Window<V> window_;
  int begin_, end_;
  Output* output_ = nullptr;
  const T* partner_ = nullptr;
  const ValidFactor<V>* factors_ = nullptr;  // of columns
  ValidFactor<V> line_factor_ = {1, 0, 0};
  Pair<V> first_, last_, sum_, min_growth_, max_growth_;
};

// Sums windows along lines. A block of threads takes a tile: plan.lines lines in the channels of a
// group of plan.boxes boxes. Each line is divided into plan.segments segments.
//
// Thread item = (segment, line, box) with the box running fastest; neighbouring lanes therefore
// write neighbouring channels, or, channels first (plan.boxes == 1), neighbouring lines.
//
// Shared memory: products [items, kProductCount] if there are any, then the tile, if it fits.
template <Compute kCompute, bool kInShared, typename Source, typename Output, typename T>
__global__ void __launch_bounds__(kMaxThreads) slide_lines(SlideCall<Source, Output, T> call) {
  using V = typename PlaneType<T>::type;
  using Work = LaneWork<kCompute, Source, Output, T>;
  // Rows of a tile, in values. Offsets in shared memory fit in 32 bits.
  using Offset = std::conditional_t<kInShared, int, Index>;
  constexpr Offset kRow = kWords;
  const SlidePlan& plan = call.plan;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int length = call.length, octets = plan.octets;
  const int lanes = plan.lines * plan.boxes, items = lanes * plan.segments;
  double* const products = dynamic_shared<double>();
  V* const tile = kInShared
                      ? reinterpret_cast<V*>(dynamic_shared<char>() + plan.products_bytes)
                      : call.tiles + blockIdx.x * (plan.tile_bytes / static_cast<Index>(sizeof(V)));
  V* const pixels = tile + kGroup * kWords;
  V* const octet_sums = tile + (length + 2 * kGroup + 1) * kRow;
  const auto line_of = [&](int word) {
    return TileLine<V, Offset>{pixels + word, octet_sums + word, length, octets};
  };
  for (Index i = blockIdx.x; i < call.tile_count(); i += gridDim.x) {
    const Index first_box = i % call.groups() * plan.boxes;
    const Index first_line = i / call.groups() * plan.lines;
    const int lines = static_cast<int>(min_index(plan.lines, call.lines() - first_line));
    const TileSource<Source> source{call.source,
                                    first_line,
                                    first_box / call.source_boxes,
                                    (call.boxes + call.source_boxes - 1) / call.source_boxes,
                                    call.lines_per_image,
                                    lines,
                                    plan.lines * plan.group,
                                    plan.group};
    load_tile<kInShared>(source, length, octets, tile);
    __syncthreads();
    // The sums of octets. A thread's items all have the same word.
    const int word = thread % kWords;
    const bool has_word = source.pixel(word) != nullptr;
    const auto line_of_word = line_of(word);
    for (int octet = thread / kWords; has_word && octet < octets; octet += threads / kWords) {
      V values[kGroup], sum = 0;
      line_of_word.load(octet * kGroup, values);
      if (call.source_factors) {  // the source has a channel for each box
        const ValidFactor<V>* factors = call.column_factors(first_box + word % plan.group);
        for_each_stored(octet * kGroup, length, 1, [&](int k, int at) {
          values[k] *= factors[at].factor;
          pixels[at * kRow + word] = values[k];
        });
      }
      BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) sum += values[k];
      octet_sums[octet * kRow + word] = sum;
    }
    __syncthreads();
    for (int item = thread; item < items; item += threads) {
      const int line = item % lanes / plan.boxes;
      const Index box = first_box + item % plan.boxes;
      if (line < lines && box < call.boxes) {
        const int channel = static_cast<int>(box / call.source_boxes - source.first_channel);
        Work work(call, box, first_line + line, item / lanes);
        work.run(line_of(line * plan.group + channel));
        if (Work::kHasProducts) work.store_products(products + item * kProductCount);
      } else if (Work::kHasProducts) {
        for (int k = 0; k < kProductCount; ++k) products[item * kProductCount + k] = 0;
      }
    }
    __syncthreads();
    if constexpr (Work::kHasProducts) {
      // Adds up the products of each box, always in the same order. There are barriers in the next
      // tile before its products are stored.
      for (int k = thread; k < plan.boxes * kProductCount; k += threads) {
        double sum = 0;
        for (int item = k / kProductCount; item < items; item += plan.boxes) {
          sum += products[item * kProductCount + k % kProductCount];
        }
        call.products[i * plan.boxes * kProductCount + k] = sum;
      }
    }
  }
}

// Adds the products of all tiles of a launch to totals[boxes, kProductCount]. A block of threads
// adds one product of one box, always in the same order. No atomics are used, so repeated calls
// give bit-identical results.
static __global__ void __launch_bounds__(kMaxThreads)
    add_products(Index tiles, Index groups, int boxes_of_group, Index boxes, const double* products,
                 double* totals) {
  double* const sums = dynamic_shared<double>();
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (Index i = blockIdx.x; i < boxes * kProductCount; i += gridDim.x) {
    const Index box = i / kProductCount, group = box / boxes_of_group;
    double sum = 0;
    for (Index tile = group + thread * groups; tile < tiles; tile += threads * groups) {
      const Index place = tile * boxes_of_group + box % boxes_of_group;
      sum += products[place * kProductCount + i % kProductCount];
    }
    sums[thread] = sum;
    for (int half = threads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (thread < half) sums[thread] += sums[thread + half];
    }
    if (thread == 0) totals[i] += sums[0];
    __syncthreads();
  }
}

// Sets the edge gradients from the products of two launches, both [boxes, kProductCount]: `down`
// with the windows kMirroredColumns over sums of the output gradient, `along` with kRowsOutward
// over sums of the input. core/cpu/box_conv_backward.h has the formulas. The bottom edge of the
// mirrored box is the top edge of the box.
template <typename V, typename TBox>
__global__ void set_boxes_grad(BoxConvProblem p, const TBox* boxes, const double* down,
                               const double* along, TBox* boxes_grad) {
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < p.out_channels();
       i += threads) {
    const BoxEdges box = box_edges(boxes + i * 4);
    const double *const y = down + i * kProductCount, *const x = along + i * kProductCount;
    double grad[4] = {0, 0, 0, 0};
    if (!box.empty) {
      const double factor = common_factor<V>(p, box);
      const bool area = p.normalization == Normalization::kArea;
      const bool valid = p.normalization == Normalization::kValid;
      // As a growing side increases the area, it reduces the response.
      const double y_min = valid ? x[kLineMin] : area ? y[kSum] / box.height : 0;
      const double y_max = valid ? x[kLineMax] : area ? y[kSum] / box.height : 0;
      const double x_min = valid ? x[kPositionMin] : area ? y[kSum] / box.width : 0;
      const double x_max = valid ? x[kPositionMax] : area ? y[kSum] / box.width : 0;
      grad[0] = y_min - y[kLast];
      grad[1] = x_min - x[kFirst] * factor;
      grad[2] = y[kFirst] - y_max;
      grad[3] = x[kLast] * factor - x_max;
    }
    for (int k = 0; k < 4; ++k) boxes_grad[i * 4 + k] = static_cast<TBox>(grad[k]);
  }
}

// Adds the input gradients of the boxes of each channel: sums[images, pixels, boxes], or [images,
// boxes, pixels] channels first. The gradient has images of p.channels channels, of which these are
// `channels`.
template <typename T, typename V>
__global__ void add_boxes(BoxConvProblem p, Index images, Index channels, const V* sums,
                          T* input_grad) {
  const Index pixels = p.height * p.width, m = p.boxes_per_channel;
  const bool last = p.layout == Layout::kChannelsLast;
  const Index inner = last ? channels : pixels, stride = last ? 1 : pixels;
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < images * pixels * channels; i += threads) {
    // Channels last, i = (image and pixel, channel); channels first, (image and channel, pixel).
    const Index outer = i / inner, at = i % inner;
    const V* const first = last ? sums + i * m : sums + outer * m * pixels + at;
    V sum = 0;
    for (Index k = 0; k < m; ++k) sum += first[k * stride];
    const Index target = last ? outer * p.channels + at
                              : (outer / channels * p.channels + outer % channels) * pixels + at;
    input_grad[target] = convert<T>(sum);
  }
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_KERNELS_CUH_
