// The parts of a box convolution followed by a 1x1 convolution that work on grouped responses
// (grouped_responses.h).
#ifndef BOXCONV_CORE_CPU_MIX_GROUPS_H_
#define BOXCONV_CORE_CPU_MIX_GROUPS_H_

#include <type_traits>

#include "core/cpu/box_conv_backward.h"
#include "core/cpu/box_conv_forward.h"
#include "core/cpu/grouped_responses.h"
#include "core/cpu/matrix_product.h"
#include "core/cpu/mix_channels.h"
#include "core/cpu/scratch.h"

namespace boxconv {
namespace BOXCONV_ISA {

template <typename T>
Index group_rows() {
  static_assert(kMaxGroupRows % kGroupRows<typename PlaneType<T>::type> == 0,
                "a plane of grouped_responses() must hold whole groups");
  return kGroupRows<typename PlaneType<T>::type>;
}

// Some neighbouring columns of a group of rows.
struct GroupBlock {
  Index image, row, column, columns;
};

BOXCONV_INLINE GroupBlock group_block(const GroupedResponses& r, Index i, Index columns) {
  const Index blocks = r.column_blocks(columns), row = i / blocks;
  const Index first = i % blocks * columns;
  return {row / r.groups(), row % r.groups() * r.group_rows, first,
          min_index(columns, r.width - first)};
}

template <typename T>
class GroupMixer {
 public:
  using V = typename PlaneType<T>::type;

  // `weights` [in_channels, out_channels]. Check ok() before anything else.
  GroupMixer(const GroupedResponses& r, const V* weights, const V* bias) : r_(r) {
    const Index in = r.in_channels, out = r.out_channels;
    ok_ = scratch_.allocate([&] {
      packed_ = scratch_.array<V>(packed_size<V>(in, out));
      bias_ = scratch_.array<V>(round_up(out, kPanelColumns<V>));
      column_ = scratch_.array<V>(kConverts ? kGroupRows<V> * out : 0);
    });
    if (!ok_) return;
    for (Index k = 0; k < in; k += kMaxProductDepth) {
      pack_rows(weights + k * out, out, min_index(kMaxProductDepth, in - k), out,
                packed_ + packed_size<V>(k, out));
    }
    convert_values(bias, out, bias_);
  }

  bool ok() const { return ok_; }

  // Each pixel calls next_input->next().
  void run(const GroupBlock& block, const V* responses, Prefetcher* next_input, T* out) const {
    const Index lines = group_lines<V>(block.row, r_.height);
    const Index rows = min_index(lines, r_.height - block.row);
    const V* group = responses + block.image * r_.image_stride + block.row * r_.width;
    const Index row_stride = r_.width * r_.out_channels;
    T* image = out + (block.image * r_.height + block.row) * row_stride;
    for (Index x = block.column; x < block.column + block.columns; ++x) {
      prefetch(group + (x + 1) * lines, rows, image + (x + 1) * r_.out_channels, row_stride);
      for (Index i = 0; i < rows; ++i) next_input->next();
      mix_column(group + x * lines, rows, image + x * r_.out_channels, row_stride);
    }
  }

 private:
  static constexpr bool kConverts = !std::is_same<T, V>::value;

  // Prefetches the next column. Its responses lie in as many planes as there are responses, more
  // than a processor can watch.
  void prefetch(const V* responses, Index rows, const T* out, Index out_stride) const {
    for (Index k = 0; k < r_.in_channels; ++k) {
      __builtin_prefetch(responses + k * r_.plane_stride);
    }
    constexpr Index line = kCacheLineBytes / static_cast<Index>(sizeof(T));
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < r_.out_channels; j += line) {
        __builtin_prefetch(out + i * out_stride + j, 1);
      }
    }
  }

  // The pixels of a column are the rows of the product.
  void mix_column(const V* responses, Index rows, T* out, Index out_stride) const {
    const Index columns = r_.out_channels, depth = r_.in_channels;
    V* result;
    if constexpr (kConverts) {
      result = column_;
    } else {
      result = out;
    }
    const Index stride = kConverts ? columns : out_stride;
    const Initial<V> bias{bias_, 0, kPanelColumns<V>};
    for_each_depth_part(
        depth, bias, result, stride, [&](Index k, Index count, const Initial<V>& start) {
          multiply(rows, columns, count, {responses + k * r_.plane_stride, 1, r_.plane_stride},
                   packed_ + packed_size<V>(k, columns), start, result, stride);
        });
    if constexpr (kConverts) {
      for (Index i = 0; i < rows; ++i) {
        convert_values(result + i * columns, columns, out + i * out_stride);
      }
    }
  }

  const GroupedResponses& r_;
  Scratch scratch_;
  bool ok_;
  V *packed_, *bias_, *column_;
};

template <typename T, typename V>
bool mix_groups(const BoxConvProblem& p, const GroupedResponses& r, const V* responses,
                const V* weights, const V* bias, const T* next_input, T* out, Index begin,
                Index end) {
  const GroupMixer<T> mixer(r, weights, bias);
  if (!mixer.ok()) return false;
  Prefetcher prefetcher;
  if (next_input != nullptr) {
    prefetcher =
        pixel_prefetcher(input_shape(p), next_input, {0, p.height}, {0, p.width}, {0, p.channels});
  }
  for (Index i = begin; i < end; ++i) {
    mixer.run(group_block(r, i, GroupedResponses::kBlockColumns), responses, &prefetcher, out);
  }
  return true;
}

// Blocks of groups as factors of the kernel gradient; see ImageBlocks.
template <typename T>
class GroupBlocks {
 public:
  using V = typename PlaneType<T>::type;

  GroupBlocks(const GroupedResponses& r, const V* responses, const T* out_grad)
      : r_(r), responses_(responses), out_grad_(out_grad) {}

  Index count() const { return r_.block_count(kColumns); }
  static constexpr Index kColumns = 8;
  static constexpr Index kMaxDepth = kColumns * kGroupRows<V>;
  static Index scratch_size(Index) { return 0; }

  Index pack(Index i, V* packed) const {
    const GroupBlock block = group_block(r_, i, kColumns);
    const Index lines = group_lines<V>(block.row, r_.height);
    const Index rows = min_index(lines, r_.height - block.row), channels = r_.out_channels;
    const T* first =
        out_grad_ + ((block.image * r_.height + block.row) * r_.width + block.column) * channels;
    const Index depth = block.columns * lines;
    for (Index y = 0; y < lines; ++y) {
      for (Index x = 0; x < block.columns; ++x) {
        const Index k = x * lines + y;
        if (y < rows) {
          pack_row_of_panels(first + (y * r_.width + x) * channels, channels, k, depth, packed);
        } else {
          // The responses of lines below the image repeat those of the last row.
          clear_row_of_panels(channels, k, depth, packed);
        }
      }
    }
    return depth;
  }

  LeftFactor<V> left_factor(Index i, Index first_row, Index, V*) const {
    const GroupBlock block = group_block(r_, i, kColumns);
    const V* plane = responses_ + block.image * r_.image_stride + first_row * r_.plane_stride;
    return {plane + block.row * r_.width + block.column * group_lines<V>(block.row, r_.height),
            r_.plane_stride, 1};
  }

 private:
  const GroupedResponses& r_;
  const V* responses_;
  const T* out_grad_;
};

template <typename T, typename V>
bool add_group_kernel_gradients(const GroupedResponses& r, const KernelGradientPlan& plan,
                                const V* responses, const T* out_grad, const KernelTotals& totals,
                                Index begin, Index end) {
  return add_kernel_gradients(plan, GroupBlocks<T>(r, responses, out_grad), totals, begin, end);
}

// Computes the planes of the gradients of the responses: for each row of an image, the product of
// `weights` [in_channels, out_channels] and the transposed row of the output gradient.
template <typename T>
class ResponseGradient {
 public:
  using V = typename PlaneType<T>::type;

  // Check ok() before anything else.
  ResponseGradient(const GroupedResponses& r, const V* weights) : r_(r), weights_(weights) {
    ok_ = scratch_.allocate([&] {
      packed_ =
          scratch_.array<V>(packed_size<V>(min_index(kMaxProductDepth, r.out_channels), r.width));
      zeros_ = scratch_.array<V>(kPanelColumns<V>);
    });
    if (ok_) clear(zeros_, kPanelColumns<V>);
  }

  bool ok() const { return ok_; }

  void run(Index row, const T* out_grad, V* grads) const {
    const Index depth = r_.out_channels, padded = padded_width(r_.width);
    const T* in = out_grad + row * r_.width * depth;
    V* const out =
        grads + row / r_.height * r_.image_stride + row % r_.height * padded_stride(padded);
    const Initial<V> zeros{zeros_, 0, 0};
    for_each_depth_part(depth, zeros, out, r_.plane_stride,
                        [&](Index k, Index count, const Initial<V>& start) {
                          pack_columns(in + k, depth, count, r_.width, packed_);
                          multiply(r_.in_channels, r_.width, count, {weights_ + k, depth, 1},
                                   packed_, start, out, r_.plane_stride);
                        });
    for (Index i = 0; i < r_.in_channels; ++i) {
      clear(out + i * r_.plane_stride + r_.width, padded - r_.width);
    }
  }

 private:
  const GroupedResponses& r_;
  const V* weights_;
  Scratch scratch_;
  bool ok_;
  V *packed_, *zeros_;
};

template <typename T, typename V>
bool response_gradients(const GroupedResponses& r, const V* weights, const T* out_grad, V* grads,
                        Index begin, Index end) {
  const ResponseGradient<T> gradient(r, weights);
  if (!gradient.ok()) return false;
  for (Index row = begin; row < end; ++row) gradient.run(row, out_grad, grads);
  return true;
}

template <typename T, typename TBox, typename V>
bool grouped_forward(const BoxConvProblem& p, const GroupedResponses& r, const Tiling& tiling,
                     const T* input, const TBox* boxes, V* responses, Index begin, Index end) {
  const ForwardKernel<T, TBox> kernel(p, boxes, tiling);
  if (!kernel.ok()) return false;
  const ImageShape in = input_shape(p);
  for (Index i = begin; i < end; ++i) {
    const Tile tile = tiling.at(i), next = tiling.at(min_index(i + 1, end - 1));
    PrefetchQueue prefetchers;
    if (ends_cache_line<T>(tile.channels, p.channels)) {
      prefetchers.add(pixel_prefetcher(in, input + next.image * in.size(), next.source_rows,
                                       next.source_columns, next.channels));
    }
    kernel.respond_in_groups(
        tile, input + tile.image * in.size(), prefetchers,
        responses + tile.image * r.image_stride + out_channels(p, tile).first * r.plane_stride,
        r.plane_stride);
  }
  return true;
}

template <typename T, typename TBox, typename V>
bool grouped_backward(const BoxConvProblem& p, const GroupedResponses& r, const Tiling& tiling,
                      const T* input, const TBox* boxes, V* grads, T* input_grad,
                      double* partial_boxes_grad, Index begin, Index end) {
  const BackwardKernel<T, TBox> kernel(p, boxes, tiling, /*loads_output_grads=*/false);
  if (!kernel.ok()) return false;
  const ImageShape in = input_shape(p);
  for (Index i = begin; i < end; ++i) {
    const Tile tile = tiling.at(i), next = tiling.at(min_index(i + 1, end - 1));
    T* result = input_grad + tile.image * in.size();
    PrefetchQueue prefetchers;
    if (begins_cache_line<T>(tile.channels)) {
      prefetchers.add(pixel_prefetcher(in, result, tile.rows, tile.columns, tile.channels));
    }
    if (ends_cache_line<T>(tile.channels, p.channels)) {
      prefetchers.add(pixel_prefetcher(in, input + next.image * in.size(), next.rows, next.columns,
                                       next.channels));
    }
    kernel.run(tile, input + tile.image * in.size(),
               grads + tile.image * r.image_stride + out_channels(p, tile).first * r.plane_stride,
               r.plane_stride, prefetchers, result,
               partial_of(p, tiling, tile, partial_boxes_grad));
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_MIX_GROUPS_H_
