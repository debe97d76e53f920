// The kernels of box convolution. slide_lines sums windows along one axis; two launches, one for
// columns and one for rows, make the forward pass, and four the backward pass
// (box_conv_launch.cuh).
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_KERNELS_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_KERNELS_CUH_

#include "core/cuda/box_conv_plan.h"
#include "core/cuda/box_conv_tile.cuh"

namespace boxconv {
namespace cuda {

// What slide_lines computes. The products of a line are the sums, over its outputs, of the
// partner's value times the first pixel of the window, its last pixel, and its sum.
enum class Compute { kSums, kProducts, kSumsAndProducts };

// Products of a box that are stored: with the first and with the last pixel; with the sum; with the
// sum and ValidFactor's growth along lines (min, max) and along positions (min, max).
enum Product { kFirst, kLast, kSum, kLineMin, kLineMax, kPositionMin, kPositionMax, kProductCount };

// Source, output and partner are given as lines with `length` positions. The source and the partner
// have one channel for each box, or one for `*_boxes` boxes.
template <typename Source, typename Output, typename T>
struct SlideCall {
  using V = typename PlaneType<T>::type;
  SlidePlan plan;
  int length, lines_per_image;
  Index images, first_box, end_box;  // of this launch
  const Window<V>* windows;          // of each box
  Lines<const Source> source;
  Index source_boxes = 1;
  Lines<Output> output = {};  // no data: sums are not stored
  Lines<const T> partner = {};
  Index partner_boxes = 1;
  // "valid": the factors along the positions and the lines of a box; `factor_stride` values from
  // box to box. They multiply the outputs and the partner. If source_factors, those along the
  // positions multiply the source instead of the outputs.
  const ValidFactor<V>*position_factors = nullptr, *line_factors = nullptr;
  Index factor_stride = 0, line_step = 1;
  bool source_factors = false;
  double* products = nullptr;  // [tiles, boxes of a group, kProductCount]
  V* block_sums = nullptr;     // unless plan.in_shared: [blocks of threads, plan.blocks, kWords]

  BOXCONV_HOST_DEVICE Index lines() const { return images * lines_per_image; }
  BOXCONV_HOST_DEVICE Index groups() const {
    return (end_box - first_box + plan.boxes - 1) / plan.boxes;
  }
  BOXCONV_HOST_DEVICE Index tiles() const {
    return groups() * ((lines() + plan.lines - 1) / plan.lines);
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

// Stores eight neighbours in memory as packets if possible. Returns whether it did.
template <typename T, typename V>
BOXCONV_DEVICE bool store_packets(T* target, const V* values) {
  if (reinterpret_cast<std::uintptr_t>(target) % kPacketBytes != 0) return false;
  constexpr int kCount = kPacket<T>;
  BOXCONV_UNROLL for (int first = 0; first < kGroup; first += kCount) {
    Packet<T> packet;
    BOXCONV_UNROLL for (int k = 0; k < kCount; ++k) packet.values[k] =
        convert<T>(values[first + k]);
    *reinterpret_cast<Packet<T>*>(target + first) = packet;
  }
  return true;
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
    if (call.position_factors != nullptr) {
      position_factors_ = call.position_factors + box * call.factor_stride;
      line_factor_ = call.line_factors[box * call.factor_stride + line * call.line_step];
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
    const double line = line_factor_.factor;
    products[kFirst] = first_.wide() * line;
    products[kLast] = last_.wide() * line;
    products[kSum] = sum_.wide() * line;
    products[kLineMin] = sum_.wide() * line * line_factor_.min_growth;
    products[kLineMax] = sum_.wide() * line * line_factor_.max_growth;
    products[kPositionMin] = min_growth_.wide() * line;
    products[kPositionMax] = max_growth_.wide() * line;
  }

 private:
  BOXCONV_DEVICE void store(int i, V* sums) const {
    const Lines<Output>& output = call_.output;
    if (position_factors_ != nullptr) {
      const bool both = !call_.source_factors;
      for_each_stored(i, end_, 1, [&](int k, int at) {
        sums[k] *= line_factor_.factor * (both ? position_factors_[at].factor : V{1});
      });
    }
    const bool packets = output.position == 1 && output.step == 1 && i + kGroup <= end_;
    if (packets && store_packets(output_ + i, sums)) return;
    for_each_stored(i, end_, output.step, [&](int k, int at) {
      output_[static_cast<Index>(at) * output.position] = convert<Output>(sums[k]);
    });
  }

  // Sums are added in V over eight outputs, then in a Pair.
  BOXCONV_DEVICE void multiply(int i, const V* first, const V* last, const V* sums) {
    const int step = call_.partner.step;
    V by_first = 0, by_last = 0, by_sum = 0, by_min = 0, by_max = 0;
    for_each_stored(i, end_, step, [&](int k, int at) {
      V value = widen(load_constant(partner_ + static_cast<Index>(at) * call_.partner.position));
      if (kHasSums && position_factors_ != nullptr) {
        const ValidFactor<V> factor = position_factors_[i + k];
        value *= factor.factor;
        if (kHasSums) by_min += value * sums[k] * factor.min_growth;
        if (kHasSums) by_max += value * sums[k] * factor.max_growth;
      }
      by_first += value * first[k];
      by_last += value * last[k];
      if (kHasSums) by_sum += value * sums[k];
    });
    first_.add(by_first);
    last_.add(by_last);
    if (kHasSums) sum_.add(by_sum);
    if (kHasSums && position_factors_ != nullptr) {
      min_growth_.add(by_min);
      max_growth_.add(by_max);
    }
  }

  const SlideCall<Source, Output, T>& call_;
  const Window<V> window_;
  int begin_, end_;
  Output* output_ = nullptr;
  const T* partner_ = nullptr;
  const ValidFactor<V>* position_factors_ = nullptr;
  ValidFactor<V> line_factor_ = {1, 0, 0};
  Pair<V> first_, last_, sum_, min_growth_, max_growth_;
};

// Sums windows along lines. A block of threads takes a tile: plan.lines lines in the channels of a
// group of plan.boxes boxes. Each line is divided into plan.segments segments.
//
// Thread item = (segment, line, box) with the box running fastest; neighbouring lanes therefore
// write neighbouring channels, or, channels first (plan.boxes == 1), neighbouring lines.
template <Compute kCompute, bool kInShared, typename Source, typename Output, typename T>
__global__ void __launch_bounds__(kMaxThreads) slide_lines(SlideCall<Source, Output, T> call) {
  using V = typename PlaneType<T>::type;
  using Work = LaneWork<kCompute, Source, Output, T>;
  const SlidePlan& plan = call.plan;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int length = call.length, blocks = plan.blocks, lanes = plan.lines * plan.boxes;
  // The products of each item, then the tile; or only the sums of blocks, in the workspace.
  double* const products = dynamic_shared<double>();
  V* const tile = reinterpret_cast<V*>(dynamic_shared<char>() + plan.tile_begin);
  V* const block_sums = kInShared ? tile + (length + 2 * kGroup + 1) * kWords
                                  : call.block_sums + blockIdx.x * Index{blocks} * kWords;
  for (Index i = blockIdx.x; i < call.tiles(); i += gridDim.x) {
    const Index first_box = call.first_box + i % call.groups() * plan.boxes;
    const Index first_line = i / call.groups() * plan.lines;
    const int lines = static_cast<int>(min_index(plan.lines, call.lines() - first_line));
    const TileSource<Source> source{call.source,
                                    first_line,
                                    first_box / call.source_boxes,
                                    (call.end_box + call.source_boxes - 1) / call.source_boxes,
                                    call.lines_per_image,
                                    lines,
                                    plan.lines * plan.group,
                                    plan.group};
    const bool source_factors = call.source_factors && call.position_factors != nullptr;
    const auto line_of = [&](int word, Index box) {
      if constexpr (kInShared) {
        return TileLine<V>{tile + kGroup * kWords + word, block_sums + word, length, blocks};
      } else {
        return TensorLine<Source, V>{
            source.pixel(word),
            call.source.position,
            call.source.step,
            source_factors ? call.position_factors + box * call.factor_stride : nullptr,
            block_sums + word,
            length,
            blocks};
      }
    };

    if (kInShared) {
      load_tile(source, length, blocks, tile);
      __syncthreads();
    }
    // The sums of blocks. A thread's items all have the same word.
    const int word = thread % kWords;
    const bool has_word = source.pixel(word) != nullptr;
    const Index box_of_word = first_box + word % plan.group;  // if there is a word for each box
    const auto line_of_word = line_of(word, box_of_word);
    for (int block = thread / kWords; has_word && block < blocks; block += threads / kWords) {
      V pixels[kGroup], sum = 0;
      line_of_word.load(block * kGroup, pixels);
      if (kInShared && source_factors) {
        const ValidFactor<V>* factors = call.position_factors + box_of_word * call.factor_stride;
        for_each_stored(block * kGroup, length, 1, [&](int k, int at) {
          pixels[k] *= factors[at].factor;
          tile[(kGroup + at) * kWords + word] = pixels[k];
        });
      }
      BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) sum += pixels[k];
      block_sums[block * kWords + word] = sum;
    }
    __syncthreads();
    for (int item = thread; item < lanes * plan.segments; item += threads) {
      const int line = item % lanes / plan.boxes, box_of_group = item % plan.boxes;
      const Index box = first_box + box_of_group;
      const bool exists = line < lines && box < call.end_box;
      if (exists) {
        const int channel = static_cast<int>(box / call.source_boxes - source.first_channel);
        Work work(call, box, first_line + line, item / lanes);
        work.run(line_of(line * plan.group + channel, box));
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
        for (int item = k / kProductCount; item < lanes * plan.segments; item += plan.boxes) {
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
// boxes, pixels] channels first, for the channels from `first_channel` on.
template <typename T, typename V>
__global__ void add_boxes(BoxConvProblem p, Index images, Index first_channel, Index channels,
                          const V* sums, T* input_grad) {
  const Index pixels = p.height * p.width, m = p.boxes_per_channel;
  const bool last = p.layout == Layout::kChannelsLast;
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < images * pixels * channels; i += threads) {
    const Index channel = last ? i % channels : i / pixels % channels;
    const Index pixel = last ? i / channels % pixels : i % pixels, image = i / channels / pixels;
    const V* const first = last ? sums + i * m : sums + (i / pixels * m) * pixels + pixel;
    V sum = 0;
    for (Index k = 0; k < m; ++k) sum += first[k * (last ? 1 : pixels)];
    const Index c = first_channel + channel;
    input_grad[last ? (image * pixels + pixel) * p.channels + c
                    : (image * p.channels + c) * pixels + pixel] = convert<T>(sum);
  }
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_KERNELS_CUH_
