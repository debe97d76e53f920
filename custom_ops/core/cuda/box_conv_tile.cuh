// A tile: some neighbouring lines of an image in all channels of a group, in shared memory.
//
// Each position along the lines has 32 words, one in each bank. A word is a line in one channel:
// with four lines (0 to 3) and eight channels (a to h),
//
//     bank            0  1  2  3  4  5  6  7  8  ...      31
//     row 0           0a 0b 0c 0d 0e 0f 0g 0h 1a 1b ...   3h     eight rows of zeros
//     ...
//     row 8           position 0 of each line
//     row 9           position 1
//     ...
//     row 8 + length                                             eight rows of zeros
//     ...
//     row 16 + length                                            a row of zeros
//     row 17 + length sums of positions 0 to 7 (block 0)
//     ...                                                        a row of zeros
//
// A lane of a warp reads one word, at any row that its window asks for. The 32 lanes therefore
// never meet in a bank, whatever the boxes are. The zeros around make tests for the ends of a line
// unnecessary. Channels last, neighbouring words are neighbouring channels; channels first, they
// are neighbouring lines, and a group is one channel. So most tensors can be copied in packets.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_

#include <cstdint>

#include "core/cuda/box_conv_slide.cuh"

namespace boxconv {
namespace cuda {

constexpr int kWords = 32;

// Images in a tensor or a workspace, seen as lines: the rows or the columns of each channel.
template <typename T>
struct Lines {
  T* data;
  Index image, channel, line;  // strides, in values
  int position;                // likewise, from one position of a line to the next
  Index first_channel;         // the channel of `data`
  int step = 1;                // only every so manieth position of a line is stored

  BOXCONV_DEVICE T* at(Index i, Index c, Index l) const {
    return data + i * image + (c - first_channel) * channel + l * line;
  }
  // Whether packets that begin at a multiple of a packet's size in one direction are aligned.
  BOXCONV_DEVICE bool are_aligned(Index stride_1, Index stride_2, Index stride_3) const {
    return (stride_1 | stride_2 | stride_3) % kPacket<T> == 0 &&
           reinterpret_cast<std::uintptr_t>(data) % kPacketBytes == 0;
  }
};

// A line in a tile, in the form that slide() needs. The pointers are to a lane's word of position 0
// and of block 0.
template <typename V>
struct TileLine {
  const V *pixels, *block_sums;
  int length, blocks;

  BOXCONV_DEVICE void load(int p, V* values) const {
    p = p > -kGroup ? p : -kGroup;
    const V* source = pixels + (p < length ? p : length) * kWords;
    BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) values[k] = source[k * kWords];
  }
  BOXCONV_DEVICE V block(int j) const {
    j = j > -1 ? j : -1;
    return block_sums[(j < blocks ? j : blocks) * kWords];
  }
};

// A line that is too long for shared memory. The pixels are read from the tensor, and the sums of
// blocks from the workspace. `factors` multiplies the pixels, unless it is null.
template <typename T, typename V>
struct TensorLine {
  const T* pixels;
  int stride, step;
  const ValidFactor<V>* factors;
  const V* block_sums;
  int length, blocks;

  BOXCONV_DEVICE void load(int p, V* values) const {
    BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) {
      const int at = p + k;
      values[k] = 0;
      if (at < 0 || at >= length || (step > 1 && at % step != 0)) continue;
      values[k] = widen(load_constant(pixels + Index{step > 1 ? at / step : at} * stride));
      if (factors != nullptr) values[k] *= factors[at].factor;
    }
  }
  BOXCONV_DEVICE V block(int j) const {
    return j >= 0 && j < blocks ? block_sums[Index{j} * kWords] : V{0};
  }
};

// Where the words of a tile lie in a tensor.
template <typename T>
struct TileSource {
  Lines<const T> tensor;
  Index first_line, first_channel, channels;  // `channels` exist, all in all
  int lines_per_image, lines, words;          // `lines` exist in this tile
  int group;                                  // channels of the tile

  // The pixel of a word at position 0. Null if there is no such line or channel.
  BOXCONV_DEVICE const T* pixel(int word) const {
    const Index line = first_line + word / group, channel = first_channel + word % group;
    if (word >= words || word / group >= lines || channel >= channels) return nullptr;
    return tensor.at(line / lines_per_image, channel, line % lines_per_image);
  }
};

// Copies all positions of the words to `row` and the rows below it. `count` positions are stored.
// A packet is kCount neighbouring words of one position.
template <int kCount, typename T, typename V>
BOXCONV_DEVICE void copy_words(const TileSource<T>& source, int count, V* row) {
  const int packets = (source.words + kCount - 1) / kCount, thread = static_cast<int>(threadIdx.x);
  const int at_once = static_cast<int>(blockDim.x) / packets;
  const int word = thread % packets * kCount, step = source.tensor.step;
  const T* pixels = thread < at_once * packets ? source.pixel(word) : nullptr;
  if (pixels == nullptr) return;
  BOXCONV_UNROLL_BY(4)
  for (int p = thread / packets; p < count; p += at_once) {
    const T* const from = pixels + static_cast<Index>(p) * source.tensor.position;
    V* const to = row + p * step * kWords + word;
    if constexpr (kCount == 1) {
      *to = widen(load_constant(from));
    } else if constexpr (sizeof(T) == sizeof(V)) {
      copy_packet(to, from);
    } else {
      const Packet<T> packet = load_packet(from);
      BOXCONV_UNROLL for (int first = 0; first < kCount; first += kPacket<V>) {
        Packet<V> words;
        BOXCONV_UNROLL for (int k = 0; k < kPacket<V>; ++k) {
          words.values[k] = widen(packet.values[first + k]);
        }
        *reinterpret_cast<Packet<V>*>(to + first) = words;
      }
    }
  }
}

// The same if neighbouring positions are neighbours in memory: a thread loads packets of one word.
template <typename T, typename V>
BOXCONV_DEVICE void copy_positions(const TileSource<T>& source, int count, V* row) {
  const int thread = static_cast<int>(threadIdx.x), word = thread % kWords;
  const T* pixels = source.pixel(word);
  if (pixels == nullptr) return;
  BOXCONV_UNROLL_BY(2)
  for (int p = thread / kWords * kPacket<T>; p < count; p += blockDim.x / kWords * kPacket<T>) {
    const Packet<T> packet = load_packet(pixels + p);
    BOXCONV_UNROLL for (int k = 0; k < kPacket<T>; ++k) {
      row[(p + k) * kWords + word] = widen(packet.values[k]);
    }
  }
}

// Copies the lines of a tile. `tile` has the rows of the drawing above. A barrier must follow.
template <typename T, typename V>
BOXCONV_DEVICE void load_tile(const TileSource<T>& source, int length, int blocks, V* tile) {
  const Lines<const T>& t = source.tensor;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  V *const row = tile + kGroup * kWords, *const after = row + length * kWords;
  for (int i = thread; i < kGroup * kWords; i += threads) tile[i] = after[i] = 0;
  for (int i = thread; i < kWords; i += threads) {
    after[kGroup * kWords + i] = after[(kGroup + 1 + blocks) * kWords + i] = 0;
  }
  if (t.step > 1) {
    for (int i = thread; i < length * kWords; i += threads) row[i] = 0;
    __syncthreads();
  }
  const int count = (length + t.step - 1) / t.step;
  // The strides along positions and lines are multiples of the number of channels or of lines, so
  // no packet reaches beyond the last of them.
  const bool along_channels = t.channel == 1 && source.group % kPacket<T> == 0 &&
                              (source.first_channel - t.first_channel) % kPacket<T> == 0 &&
                              t.are_aligned(t.image, t.line, t.position);
  const bool along_lines =
      t.line == 1 && source.group == 1 && t.are_aligned(t.image, t.channel, t.position);
  if (along_channels || along_lines) {
    copy_words<kPacket<T>>(source, count, row);
  } else if (t.position == 1 && t.step == 1 && length % kPacket<T> == 0 &&
             t.are_aligned(t.image, t.channel, t.line)) {
    copy_positions(source, count, row);
  } else {
    copy_words<1>(source, count, row);
  }
  wait_for_copies();
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_
