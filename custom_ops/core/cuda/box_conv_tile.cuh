// Planes of a few channels in a block's shared memory, and the way there and back: 16 bytes at a
// time where the tensor's shape allows, whichever its layout.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_

#include <cstdint>
#include <type_traits>

#include "core/cuda/box_conv_planes.cuh"

namespace boxconv {
namespace cuda {

// Neighbouring values of a tensor, which a thread reads or writes at once.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Packet {
  T values[kCount];
};
template <typename T>
constexpr int kPacket = kPacketBytes / static_cast<int>(sizeof(T));

// Planes in shared memory: [channel, row, column], rows an odd number of values apart.
template <typename V>
struct Tile {
  V* data;
  int plane_size, row_step;
  BOXCONV_DEVICE V& at(int channel, int y, int x) const {
    return data[channel * plane_size + y * row_step + x];
  }
};

// A rectangle of an image's pixels.
struct Region {
  int y, x, height, width;
};

// The pixels of a region in the planes of some channels of a tensor.
template <typename T>
struct TensorPlanes {
  T* data;  // the region's first pixel in the first channel
  Index channel_step;
  int row_step, pixel_step, channels, height, width;
  bool channels_last;

  BOXCONV_DEVICE bool is_aligned() const {
    return reinterpret_cast<std::uintptr_t>(data) % kPacketBytes == 0;
  }
  // Whether packets of channels of a pixel, or of pixels of a row, make up the region.
  BOXCONV_DEVICE bool has_channel_packets() const {
    return channels_last && channel_step == 1 && channels % kPacket<T> == 0 &&
           pixel_step % kPacket<T> == 0 && is_aligned();
  }
  BOXCONV_DEVICE bool has_pixel_packets() const {
    return !channels_last && width % kPacket<T> == 0 && row_step % kPacket<T> == 0 &&
           channel_step % kPacket<T> == 0 && is_aligned();
  }
};

// Those of some channels from `first` on, of a tensor of planes of height * width pixels
// that has `every` channels for each of them; the planes are of the one at `offset`.
template <typename T>
BOXCONV_DEVICE TensorPlanes<T> tensor_planes(const BoxConvProblem& p, T* data, Index image,
                                             Index height, Index width, const Region& region,
                                             Index first, int channels, Index every, Index offset) {
  const bool channels_last = p.layout == Layout::kChannelsLast;
  const Index all = p.channels * every, plane = height * width;
  const Index channel_step = channels_last ? 1 : plane, pixel_step = channels_last ? all : 1;
  const Index channel = first * every + offset, pixel = region.y * width + region.x;
  return {data + image * all * plane + channel * channel_step + pixel * pixel_step,
          channel_step * every,
          static_cast<int>(width * pixel_step),
          static_cast<int>(pixel_step),
          channels,
          region.height,
          region.width,
          channels_last};
}

// The first value of a packet in planes.
struct PacketPlace {
  int channel, y, x;
};

// What the values of a packet are: channels of a pixel, pixels of a row, or a single value of
// either.
enum class Along { kChannels, kPixels, kLayout };

// How the threads of a block go through planes by packets, neighbours in memory side by side. T may
// be const.
template <typename T, int kCount, Along kAlong>
class PacketWalk {
 public:
  using Value = std::remove_const_t<T>;

  BOXCONV_DEVICE explicit PacketWalk(const TensorPlanes<T>& planes)
      : p_(planes),
        width_(channels_last() ? planes.width : planes.width / kCount),
        inner_(channels_last() ? planes.channels / kCount : planes.height * width_),
        count_(channels_last() ? inner_ * planes.height * width_ : inner_ * planes.channels),
        by_inner_(inner_),
        by_width_(width_) {}

  BOXCONV_DEVICE bool has(int i) const { return i < count_; }
  BOXCONV_DEVICE PacketPlace place(int i) const {
    const int quotient = by_inner_.quotient(i), rest = i - quotient * inner_;
    const int packet = channels_last() ? quotient : rest;
    const int y = by_width_.quotient(packet), x = packet - y * width_;
    return channels_last() ? PacketPlace{rest * kCount, y, x}
                           : PacketPlace{quotient, y, x * kCount};
  }
  BOXCONV_DEVICE Packet<Value, kCount> load(const PacketPlace& at) const {
    return *reinterpret_cast<const Packet<Value, kCount>*>(address(at));
  }
  BOXCONV_DEVICE void store(const PacketPlace& at, const Packet<Value, kCount>& packet) const {
    *reinterpret_cast<Packet<Value, kCount>*>(address(at)) = packet;
  }
  // Calls body(k, channel, y, x) for a packet's values.
  template <typename Body>
  BOXCONV_DEVICE void for_each_value(const PacketPlace& at, const Body& body) const {
    BOXCONV_UNROLL for (int k = 0; k < kCount; ++k) {
      if (channels_last()) {
        body(k, at.channel + k, at.y, at.x);
      } else {
        body(k, at.channel, at.y, at.x + k);
      }
    }
  }

 private:
  BOXCONV_DEVICE bool channels_last() const {
    return kAlong == Along::kLayout ? p_.channels_last : kAlong == Along::kChannels;
  }
  BOXCONV_DEVICE T* address(const PacketPlace& at) const {
    const Index channel = kAlong == Along::kChannels ? at.channel : at.channel * p_.channel_step;
    const Index column = kAlong == Along::kPixels ? at.x : product(at.x, p_.pixel_step);
    return p_.data + channel + product(at.y, p_.row_step) + column;
  }
  // Of numbers that are not negative: one instruction.
  BOXCONV_DEVICE static Index product(int a, int b) {
    return static_cast<Index>(static_cast<std::uint64_t>(static_cast<unsigned>(a)) *
                              static_cast<unsigned>(b));
  }

  const TensorPlanes<T>& p_;
  const int width_, inner_, count_;  // in packets
  const Divisor by_inner_, by_width_;
};

// Calls body(walk) with the largest packets that there are.
template <typename T, typename Body>
BOXCONV_DEVICE void by_packets(const TensorPlanes<T>& planes, const Body& body) {
  if (planes.height == 0 || planes.width == 0) return;
  if (planes.has_channel_packets()) {
    body(PacketWalk<T, kPacket<T>, Along::kChannels>(planes));
  } else if (planes.has_pixel_packets()) {
    body(PacketWalk<T, kPacket<T>, Along::kPixels>(planes));
  } else {
    body(PacketWalk<T, 1, Along::kLayout>(planes));
  }
}

// Calls put(channel, y, x, value) for all values of planes, by all threads of a block.
template <typename T, typename Put>
BOXCONV_DEVICE void load_planes(const TensorPlanes<const T>& planes, const Put& put) {
  constexpr int kAtOnce = 4;  // loads that do not wait for one another
  by_packets(planes, [&](const auto& walk) {
    const int threads = static_cast<int>(blockDim.x);
    for (int i = static_cast<int>(threadIdx.x); walk.has(i); i += kAtOnce * threads) {
      decltype(walk.load({})) packets[kAtOnce];
      PacketPlace places[kAtOnce];
      BOXCONV_UNROLL for (int n = 0; n < kAtOnce; ++n) {
        places[n] = walk.place(i + n * threads);
        if (walk.has(i + n * threads)) packets[n] = walk.load(places[n]);
      }
      BOXCONV_UNROLL for (int n = 0; n < kAtOnce; ++n) {
        if (!walk.has(i + n * threads)) continue;
        walk.for_each_value(places[n], [&](int k, int channel, int y, int x) {
          put(channel, y, x, packets[n].values[k]);
        });
      }
    }
  });
}

// Makes all values of planes get(channel, y, x).
template <typename T, typename Get>
BOXCONV_DEVICE void store_planes(const TensorPlanes<T>& planes, const Get& get) {
  by_packets(planes, [&](const auto& walk) {
    const int threads = static_cast<int>(blockDim.x);
    for (int i = static_cast<int>(threadIdx.x); walk.has(i); i += threads) {
      const PacketPlace place = walk.place(i);
      decltype(walk.load({})) packet;
      walk.for_each_value(place, [&](int k, int channel, int y, int x) {
        packet.values[k] = convert<T>(get(channel, y, x));
      });
      walk.store(place, packet);
    }
  });
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_
