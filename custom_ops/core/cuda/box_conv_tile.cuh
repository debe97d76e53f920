// Planes in the shared memory of a block, and copies between them and tensors of either layout.
// Copies move 16 bytes at a time if the tensor's shape allows it.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_TILE_CUH_

#include <cstdint>
#include <type_traits>

#include "core/cuda/box_conv_planes.cuh"

namespace boxconv {
namespace cuda {

// Neighbouring values of a tensor that a thread reads or writes with one instruction.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Packet {
  T values[kCount];
};
template <typename T>
constexpr int kPacket = kPacketBytes / static_cast<int>(sizeof(T));

// Planes in shared memory: [channel, row, column]. The row stride is odd, to avoid bank conflicts.
template <typename V>
struct Tile {
  V* data;
  int plane_size, row_stride;
  BOXCONV_DEVICE V& at(int channel, int y, int x) const {
    return data[channel * plane_size + y * row_stride + x];
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
  Index channel_stride;
  int row_stride, pixel_stride, channels, height, width;
  bool channels_last;

  BOXCONV_DEVICE bool is_aligned() const {
    return reinterpret_cast<std::uintptr_t>(data) % kPacketBytes == 0;
  }
  // Whether the region consists of whole packets: channels of a pixel, or pixels of a row.
  BOXCONV_DEVICE bool has_channel_packets() const {
    return channels_last && channel_stride == 1 && channels % kPacket<T> == 0 &&
           pixel_stride % kPacket<T> == 0 && is_aligned();
  }
  BOXCONV_DEVICE bool has_pixel_packets() const {
    return !channels_last && width % kPacket<T> == 0 && row_stride % kPacket<T> == 0 &&
           channel_stride % kPacket<T> == 0 && is_aligned();
  }
};

// The planes of channels c = first, first + 1, ... of a tensor, where the plane of c is channel
// c * multiplier + offset of the tensor: multiplier is 1 for inputs, boxes_per_channel for outputs.
template <typename T>
BOXCONV_DEVICE TensorPlanes<T> tensor_planes(const BoxConvProblem& p, T* data, Index image,
                                             Index height, Index width, const Region& region,
                                             Index first, int channels, Index multiplier,
                                             Index offset) {
  const bool channels_last = p.layout == Layout::kChannelsLast;
  const Index all = p.channels * multiplier, plane = height * width;
  const Index channel_stride = channels_last ? 1 : plane, pixel_stride = channels_last ? all : 1;
  const Index channel = first * multiplier + offset, pixel = region.y * width + region.x;
  return {data + image * all * plane + channel * channel_stride + pixel * pixel_stride,
          channel_stride * multiplier,
          static_cast<int>(width * pixel_stride),
          static_cast<int>(pixel_stride),
          channels,
          region.height,
          region.width,
          channels_last};
}

// The position of the first value of a packet.
struct PacketPlace {
  int channel, y, x;
};

// The axis along which a packet lies: channels of a pixel, or pixels of a row. kLayout, for packets
// of a single value, is the innermost axis of the layout.
enum class Along { kChannels, kPixels, kLayout };

// Numbers the packets of some planes in the order of memory, so that neighbouring threads take
// neighbouring packets. T may be const.
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
  // Calls body(k, channel, y, x) for each value of a packet.
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
    const Index channel = kAlong == Along::kChannels ? at.channel : at.channel * p_.channel_stride;
    const Index column = kAlong == Along::kPixels ? at.x : product(at.x, p_.pixel_stride);
    return p_.data + channel + product(at.y, p_.row_stride) + column;
  }
  // The product of two numbers that are not negative, in one instruction.
  BOXCONV_DEVICE static Index product(int a, int b) {
    return static_cast<Index>(static_cast<std::uint64_t>(static_cast<unsigned>(a)) *
                              static_cast<unsigned>(b));
  }

  const TensorPlanes<T>& p_;
  const int width_, inner_, count_;  // in packets
  const Divisor by_inner_, by_width_;
};

// Calls body(walk) with a PacketWalk of the largest packets that the planes allow.
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

// Calls put(channel, y, x, value) for each value of the planes. All threads of the block call it.
template <typename T, typename Put>
BOXCONV_DEVICE void load_planes(const TensorPlanes<const T>& planes, const Put& put) {
  constexpr int kAtOnce = 4;  // hides the latency of the loads
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

// Sets each value of the planes to get(channel, y, x). All threads of the block call it.
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
