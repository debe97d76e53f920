// 1x1 convolutions, and the gradients of their kernels.
//
// In channels-last images, the pixels of a block are the rows of a matrix product and the output
// channels its columns; in channels-first images it is the reverse. The right factor, which is
// packed, is the kernel or the block.
#ifndef BOXCONV_CORE_CPU_MIX_CHANNELS_H_
#define BOXCONV_CORE_CPU_MIX_CHANNELS_H_

#include <type_traits>

#include "core/cpu/channel_mixing.h"
#include "core/cpu/convert.h"
#include "core/cpu/image_rows.h"
#include "core/cpu/matrix_product.h"
#include "core/cpu/scratch.h"

namespace boxconv {
namespace BOXCONV_ISA {

// Some pixels of one image.
struct PixelBlock {
  Index image, first, count;
};

BOXCONV_INLINE PixelBlock pixel_block(const ChannelMixing& m, Index block) {
  const Index first = block % m.blocks_per_image() * ChannelMixing::kBlockPixels;
  return {block / m.blocks_per_image(), first,
          min_index(ChannelMixing::kBlockPixels, m.pixels - first)};
}

// The first value of a block, in images with `channels` channels.
template <typename T>
T* block_of(const ChannelMixing& m, T* images, Index channels, const PixelBlock& block) {
  const Index stride = m.layout == Layout::kChannelsLast ? channels : 1;
  return images + block.image * m.pixels * channels + block.first * stride;
}

template <typename T>
class ChannelMixer {
 public:
  using V = typename PlaneType<T>::type;

  // Check ok() before anything else. If m.adds, T must be V.
  ChannelMixer(const ChannelMixing& m, const V* weights, const V* bias) : m_(m), weights_(weights) {
    const Index in = m.in_channels, out = m.out_channels;
    const bool last = m.layout == Layout::kChannelsLast;
    ok_ = scratch_.allocate([&] {
      packed_ = scratch_.array<V>(last ? packed_size<V>(in, out)
                                       : packed_size<V>(min_index(in, kMaxProductDepth), kBlock));
      initial_ = scratch_.array<V>(last ? round_up(out, kPanelColumns<V>) : out * kPanelColumns<V>);
      in_block_ = scratch_.array<V>(kConverts && last ? kBlock * in : 0);
      out_block_ = scratch_.array<V>(kConverts ? kBlock * out : 0);
    });
    if (!ok_) return;
    if (last) {
      for (Index k = 0; k < in; k += kMaxProductDepth) {
        const Index depth = min_index(kMaxProductDepth, in - k);
        V* const packed = packed_ + packed_size<V>(k, out);
        if (m.transposed) {
          pack_columns(weights + k, in, depth, out, packed);
        } else {
          pack_rows(weights + k * out, out, depth, out, packed);
        }
      }
      convert_values(bias, out, initial_);
    } else {
      for (Index i = 0; i < out * kPanelColumns<V>; ++i) initial_[i] = bias[i / kPanelColumns<V>];
    }
  }

  bool ok() const { return ok_; }

  void run(const PixelBlock& block, const T* in, T* out) const {
    if (m_.layout == Layout::kChannelsLast) {
      run_channels_last(block, in, out);
    } else {
      run_channels_first(block, in, out);
    }
  }

 private:
  static constexpr bool kConverts = !std::is_same<T, V>::value;
  static constexpr Index kBlock = ChannelMixing::kBlockPixels;

  void run_channels_last(const PixelBlock& block, const T* in, T* out) const {
    const Index depth = m_.in_channels, columns = m_.out_channels;
    const V* left = as_values(in, block.count * depth, in_block_);
    V* const result = values_of(out);
    Initial<V> initial{initial_, 0, kPanelColumns<V>};
    if (m_.adds) initial = {result, columns, kPanelColumns<V>};
    for_each_depth_part(depth, initial, result, columns,
                        [&](Index k, Index count, const Initial<V>& start) {
                          multiply(block.count, columns, count, {left + k, depth, 1},
                                   packed_ + packed_size<V>(k, columns), start, result, columns);
                        });
    if constexpr (kConverts) convert_values(result, block.count * columns, out);
  }

  void run_channels_first(const PixelBlock& block, const T* in, T* out) const {
    const Index depth = m_.in_channels, rows = m_.out_channels;
    V* const result = values_of(out);
    const Index stride = kConverts ? kBlock : m_.pixels;
    Initial<V> initial{initial_, kPanelColumns<V>, 0};
    if (m_.adds) initial = {result, stride, kPanelColumns<V>};
    for_each_depth_part(
        depth, initial, result, stride, [&](Index k, Index count, const Initial<V>& start) {
          pack_rows(in + k * m_.pixels, m_.pixels, count, block.count, packed_);
          multiply(rows, block.count, count, left_weights(k), packed_, start, result, stride);
        });
    if constexpr (kConverts) {
      for (Index i = 0; i < rows; ++i) {
        convert_values(result + i * kBlock, block.count, out + i * m_.pixels);
      }
    }
  }

  // The weights of the input channels from k on, as a left factor.
  LeftFactor<V> left_weights(Index k) const {
    if (m_.transposed) return {weights_ + k, m_.in_channels, 1};
    return {weights_ + k * m_.out_channels, 1, m_.out_channels};
  }

  static const V* as_values(const T* in, Index count, V* converted) {
    if constexpr (kConverts) {
      convert_values(in, count, converted);
      return converted;
    } else {
      return in;
    }
  }

  V* values_of(T* out) const {
    if constexpr (kConverts) {
      return out_block_;
    } else {
      return out;
    }
  }

  const ChannelMixing& m_;
  const V* weights_;
  Scratch scratch_;
  bool ok_;
  V *packed_, *initial_, *in_block_, *out_block_;
};

template <typename T>
bool mix_channels(const ChannelMixing& m, const T* in, const typename PlaneType<T>::type* weights,
                  const typename PlaneType<T>::type* bias, T* out, Index begin, Index end) {
  const ChannelMixer<T> mixer(m, weights, bias);
  if (!mixer.ok()) return false;
  for (Index i = begin; i < end; ++i) {
    const PixelBlock block = pixel_block(m, i);
    mixer.run(block, block_of(m, in, m.in_channels, block),
              block_of(m, out, m.out_channels, block));
  }
  return true;
}

// The blocks of images as factors of the kernel gradient: the rows of the product are input
// channels, its columns output channels, and its depth the pixels of a block.
template <typename T>
class ImageBlocks {
 public:
  using V = typename PlaneType<T>::type;

  ImageBlocks(const ChannelMixing& m, const T* in, const T* out_grad)
      : m_(m), in_(in), out_grad_(out_grad) {}

  Index count() const { return m_.block_count(); }
  static constexpr Index kMaxDepth = ChannelMixing::kBlockPixels;
  // The number of values of scratch memory that left_factor() needs.
  static Index scratch_size(Index rows) { return kConverts ? kMaxDepth * rows : 0; }

  // Packs the right factor and returns the depth.
  Index pack(Index i, V* packed) const {
    const PixelBlock block = pixel_block(m_, i);
    const T* grad = block_of(m_, out_grad_, m_.out_channels, block);
    if (m_.layout == Layout::kChannelsLast) {
      pack_rows(grad, m_.out_channels, block.count, m_.out_channels, packed);
    } else {
      pack_columns(grad, m_.pixels, block.count, m_.out_channels, packed);
    }
    return block.count;
  }

  LeftFactor<V> left_factor(Index i, Index first_row, Index rows, V* scratch) const {
    const bool last = m_.layout == Layout::kChannelsLast;
    const PixelBlock block = pixel_block(m_, i);
    const T* in = block_of(m_, in_, m_.in_channels, block) + first_row * (last ? 1 : m_.pixels);
    const Index stride = last ? m_.in_channels : m_.pixels;
    if constexpr (kConverts) {
      const Index lines = last ? block.count : rows, length = last ? rows : block.count;
      for (Index line = 0; line < lines; ++line) {
        convert_values(in + line * stride, length, scratch + line * length);
      }
      return {scratch, last ? 1 : length, last ? length : 1};
    } else {
      return {in, last ? 1 : stride, last ? stride : 1};
    }
  }

 private:
  static constexpr bool kConverts = !std::is_same<T, V>::value;

  const ChannelMixing& m_;
  const T *in_, *out_grad_;
};

// Adds to the gradients of the kernel and of the bias. Blocks is ImageBlocks<T> or alike.
template <typename Blocks>
class KernelGradient {
 public:
  using V = typename Blocks::V;

  // Check ok() before anything else.
  KernelGradient(const KernelGradientPlan& plan, const Blocks& blocks)
      : plan_(plan), blocks_(blocks) {
    const Index columns = plan.out_channels(), rows = plan.max_rows();
    ok_ = scratch_.allocate([&] {
      packed_ = scratch_.array<V>(packed_size<V>(Blocks::kMaxDepth, columns));
      left_ = scratch_.array<V>(Blocks::scratch_size(rows));
      kernel_sums_ = scratch_.array<V>(rows * columns);
      bias_sums_ = scratch_.array<V>(round_up(columns, kPanelColumns<V>));
    });
  }

  bool ok() const { return ok_; }

  // Adds the contribution of a unit of the plan to `totals`.
  void run(Index unit, const KernelTotals& totals) const {
    const Index part = plan_.part(unit), row = plan_.first_row(unit), rows = plan_.row_count(unit);
    const Index columns = plan_.out_channels(), count = blocks_.count();
    const Index begin = part * count / plan_.parts(), end = (part + 1) * count / plan_.parts();
    double* const kernel_totals = totals.kernel + part * totals.stride + row * columns;
    for (Index first = begin; first < end; first += kChainBlocks) {
      clear(kernel_sums_, rows * columns);
      clear(bias_sums_, round_up(columns, kPanelColumns<V>));
      for (Index i = first; i < min_index(first + kChainBlocks, end); ++i) add_block(i, row, rows);
      for (Index i = 0; i < rows * columns; ++i) kernel_totals[i] += kernel_sums_[i];
      if (row > 0 || totals.bias == nullptr) continue;
      for (Index i = 0; i < columns; ++i) totals.bias[part * totals.stride + i] += bias_sums_[i];
    }
  }

 private:
  // The number of blocks that are summed in V before the sum is added to a total in double.
  static constexpr Index kChainBlocks = 8;

  void add_block(Index i, Index row, Index rows) const {
    const Index columns = plan_.out_channels(), depth = blocks_.pack(i, packed_);
    multiply(rows, columns, depth, blocks_.left_factor(i, row, rows, left_), packed_,
             {kernel_sums_, columns, kPanelColumns<V>}, kernel_sums_, columns);
    if (row > 0) return;
    for (Index j = 0; j < columns; j += kPanelColumns<V>) {
      add_rows(packed_ + j * depth, depth, bias_sums_ + j);
    }
  }

  // Adds the rows of a panel to `sums`.
  static void add_rows(const V* panel, Index rows, V* sums) {
    constexpr int n = kMaxLanes<V>;
    Vector<V, n> first = load_vector<V, n>(sums), second = load_vector<V, n>(sums + n);
    for (Index k = 0; k < rows; ++k, panel += 2 * n) {
      first += load_vector<V, n>(panel);
      second += load_vector<V, n>(panel + n);
    }
    store_vector<V, n>(first, sums);
    store_vector<V, n>(second, sums + n);
  }

  const KernelGradientPlan& plan_;
  const Blocks& blocks_;
  Scratch scratch_;
  bool ok_;
  V *packed_, *left_, *kernel_sums_, *bias_sums_;
};

template <typename Blocks>
bool add_kernel_gradients(const KernelGradientPlan& plan, const Blocks& blocks,
                          const KernelTotals& totals, Index begin, Index end) {
  const KernelGradient<Blocks> gradient(plan, blocks);
  if (!gradient.ok()) return false;
  for (Index unit = begin; unit < end; ++unit) gradient.run(unit, totals);
  return true;
}

template <typename T>
bool add_kernel_gradients(const ChannelMixing& m, const KernelGradientPlan& plan, const T* in,
                          const T* out_grad, const KernelTotals& totals, Index begin, Index end) {
  return add_kernel_gradients(plan, ImageBlocks<T>(m, in, out_grad), totals, begin, end);
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_MIX_CHANNELS_H_
