// A tile: some neighbouring lines of an image in all channels of a group.
//
// Each position along the lines has 32 words, one in each bank of shared memory. A word is a line
// in one channel: with four lines (0 to 3) and eight channels (a to h),
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
//     row 17 + length sums of positions 0 to 7 (octet 0)
//     ...                                                        a row of zeros
//
// A lane of a warp reads one word, at any row that its window asks for. The 32 lanes therefore
// never meet in a bank, whatever the boxes are. The zeros around make tests for the ends of a line
// unnecessary. Channels last, neighbouring words are neighbouring channels; channels first, they
// are neighbouring lines, and a group is one channel. So most tensors can be copied in packets.
//
// A tile that is too large for shared memory lies in the workspace, in the same form.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_

#include <cstdint>

#include "core/cuda/box_conv_plan.h"
#include "core/cuda/box_conv_slide.cuh"

namespace boxconv {
namespace cuda {

// Images in a tensor or a workspace, seen as lines: the rows or the columns of each channel.
template <typename T>
struct Lines {
  T* data;
  Index image, channel, line;  // strides, in values
  int position;                // likewise, from one position of a line to the next
  int step = 1;                // only positions 0, step, 2 * step ... of a line are stored

  BOXCONV_DEVICE T* at(Index i, Index c, Index l) const {
    return data + i * image + c * channel + l * line;
  }
  // Whether packets that begin at a multiple of a packet's size in one direction are aligned.
  BOXCONV_DEVICE bool are_aligned(Index stride_1, Index stride_2, Index stride_3) const {
    return (stride_1 | stride_2 | stride_3) % kPacket<T> == 0 &&
           reinterpret_cast<std::uintptr_t>(data) % kPacketBytes == 0;
  }
};

// A line in a tile, in the form that slide() needs. The pointers are to a lane's word of position 0
// and of octet 0. Offsets between them are computed in type Offset.
template <typename V, typename Offset>
struct TileLine {
  const V *pixels, *octet_sums;
  int length, octets;

  BOXCONV_DEVICE void load(int p, V* values) const {
    p = p > -kGroup ? p : -kGroup;
    const V* source = pixels + Offset{p < length ? p : length} * kWords;
    BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) values[k] = source[k * kWords];
  }
  BOXCONV_DEVICE V octet(int j) const {
    j = j > -1 ? j : -1;
    return octet_sums[Offset{j < octets ? j : octets} * kWords];
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

// Copies the `count` stored positions of each word to `row` and the rows below it. A packet holds
// kAlongWords neighbouring words of one position, or kAlongLine neighbouring positions of one word.
template <bool kInShared, int kAlongWords, int kAlongLine, typename T, typename V>
BOXCONV_DEVICE void copy_pixels(const TileSource<T>& source, int count, V* row) {
  const int packets = (source.words + kAlongWords - 1) / kAlongWords;
  const int thread = static_cast<int>(threadIdx.x),
            at_once = static_cast<int>(blockDim.x) / packets;
  const int word = thread % packets * kAlongWords, step = source.tensor.step;
  const T* pixels = thread < at_once * packets ? source.pixel(word) : nullptr;
  if (pixels == nullptr) return;
  BOXCONV_UNROLL_BY(4)
  for (int p = thread / packets * kAlongLine; p < count; p += at_once * kAlongLine) {
    const T* const from = pixels + static_cast<Index>(p) * source.tensor.position;
    V* const to = row + static_cast<Index>(p) * step * kWords + word;
    if constexpr (kAlongWords * kAlongLine == 1) {
      *to = widen(load_constant(from));
    } else if constexpr (kInShared && kAlongWords > 1 && sizeof(T) == sizeof(V)) {
      copy_packet(to, from);
    } else {
      const Packet<T> packet = load_packet(from);
      if constexpr (kAlongLine > 1) {
        BOXCONV_UNROLL for (int k = 0; k < kAlongLine; ++k) to[k * kWords] =
            widen(packet.values[k]);
      } else {
        store_packets<kAlongWords>(to, packet.values);
      }
    }
  }
}

// Copies the lines of a tile. `tile` has the rows of the drawing above. A barrier must follow.
template <bool kInShared, typename T, typename V>
BOXCONV_DEVICE void load_tile(const TileSource<T>& source, int length, int octets, V* tile) {
  const Lines<const T>& t = source.tensor;
  const auto clear = [tile](Index first_row, Index rows) {
    for (Index i = threadIdx.x; i < rows * kWords; i += blockDim.x) {
      tile[first_row * kWords + i] = 0;
    }
  };
  clear(0, kGroup);
  clear(kGroup + Index{length}, kGroup + 1);
  clear(2 * kGroup + 1 + Index{length} + octets, 1);
  if (t.step > 1) {
    clear(kGroup, length);
    __syncthreads();
  }
  const int count = (length + t.step - 1) / t.step;
  V* const row = tile + kGroup * kWords;
  // The strides along positions and lines are multiples of the number of channels or of lines, so
  // no packet reaches beyond the last of them.
  const bool along_channels = t.channel == 1 && source.group % kPacket<T> == 0 &&
                              source.first_channel % kPacket<T> == 0 &&
                              t.are_aligned(t.image, t.line, t.position);
  const bool along_lines =
      t.line == 1 && source.group == 1 && t.are_aligned(t.image, t.channel, t.position);
  const bool along_positions = t.position == 1 && t.step == 1 && length % kPacket<T> == 0 &&
                               t.are_aligned(t.image, t.channel, t.line);
  if (along_channels || along_lines) {
    copy_pixels<kInShared, kPacket<T>, 1>(source, count, row);
  } else if (along_positions) {
    copy_pixels<kInShared, 1, kPacket<T>>(source, count, row);
  } else {
    copy_pixels<kInShared, 1, 1>(source, count, row);
  }
  if (kInShared) wait_for_copies();
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_
