// Blocks of channels as planes: how images in either layout enter and leave a kernel's scratch.
#ifndef BOXCONV_CORE_PLANE_BLOCK_H_
#define BOXCONV_CORE_PLANE_BLOCK_H_

#include <cstdlib>
#include <cstring>

#include "core/box_conv.h"
#include "core/half.h"
#include "core/platform.h"

namespace boxconv {
namespace BOXCONV_ISA {

// Memory for one thread's work, freed with it. data() is null when there was none to be had.
template <typename V>
class Scratch {
 public:
  explicit Scratch(Index count)
      : data_(static_cast<V*>(std::malloc((count > 0 ? count : 1) * sizeof(V)))) {}
  ~Scratch() { std::free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  V* data() const { return data_; }

 private:
  V* data_;
};

// One image's worth of memory in a tensor of `channels` channels and `pixels` pixels a plane.
struct ImageShape {
  Index pixels, channels;
  Layout layout;
};

// Planes in scratch lie a cache line more than their size apart: planes of 2^k bytes would
// otherwise all fall into the same cache sets.
BOXCONV_HOST_DEVICE Index padded_plane(Index pixels) { return pixels + 16; }

// Tiles of interleaved pixels are transposed kTile by kTile: copying a pixel's channels one by one
// to as many planes, or back, costs several times as much.
constexpr Index kTile = 4;

// to[j * to_step + i] = from[i * from_step + j]
template <typename From, typename To>
BOXCONV_HOST_DEVICE void transpose(const From* __restrict from, Index from_step, Index rows,
                                   Index columns, To* __restrict to, Index to_step) {
  for (Index j = 0; j < columns; ++j) {
    for (Index i = 0; i < rows; ++i) {
      to[j * to_step + i] = Store<To>::from(load(from[i * from_step + j]));
    }
  }
}

template <typename From, typename To>
BOXCONV_HOST_DEVICE void transpose_tile(const From* from, Index from_step, To* to, Index to_step) {
  transpose(from, from_step, kTile, kTile, to, to_step);
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
// Compilers do not find the shuffles by themselves, and floats are what most networks have.
BOXCONV_HOST_DEVICE void transpose_tile(const float* from, Index from_step, float* to,
                                        Index to_step) {
  typedef float Row __attribute__((vector_size(16)));
  Row r[kTile];
  for (Index i = 0; i < kTile; ++i) std::memcpy(&r[i], from + i * from_step, sizeof(Row));
  const Row low01 = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  const Row high01 = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const Row low23 = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  const Row high23 = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
  for (Index j = 0; j < kTile; ++j) std::memcpy(to + j * to_step, &r[j], sizeof(Row));
}
#endif
#endif

// The same for any number of rows and columns, tile by tile. Whichever side is longer, pixels, is
// walked once, so that a pixel's cache line is visited once.
template <typename From, typename To>
void transpose_all(const From* from, Index from_step, Index rows, Index columns, To* to,
                   Index to_step) {
  const Index whole_rows = rows - rows % kTile, whole_columns = columns - columns % kTile;
  const auto tile = [=](Index i, Index j) {
    transpose_tile(from + i * from_step + j, from_step, to + j * to_step + i, to_step);
  };
  if (rows > columns) {
    for (Index i = 0; i < whole_rows; i += kTile) {
      for (Index j = 0; j < whole_columns; j += kTile) tile(i, j);
    }
  } else {
    for (Index j = 0; j < whole_columns; j += kTile) {
      for (Index i = 0; i < whole_rows; i += kTile) tile(i, j);
    }
  }
  transpose(from + whole_columns, from_step, whole_rows, columns - whole_columns,
            to + whole_columns * to_step, to_step);
  transpose(from + whole_rows * from_step, from_step, rows - whole_rows, columns, to + whole_rows,
            to_step);
}

// Copies channels [first, first + count) of an image into planes.
template <typename T, typename V>
void load_planes(const ImageShape& shape, const T* image, Index first, Index count, V* planes) {
  const Index step = padded_plane(shape.pixels);
  if (shape.layout == Layout::kChannelsLast) {
    transpose_all(image + first, shape.channels, shape.pixels, count, planes, step);
    return;
  }
  for (Index c = 0; c < count; ++c) {
    const T* source = image + (first + c) * shape.pixels;
    V* plane = planes + c * step;
    for (Index p = 0; p < shape.pixels; ++p) plane[p] = load(source[p]);
  }
}

// The way back.
template <typename T, typename V>
void store_planes(const ImageShape& shape, const V* planes, Index first, Index count, T* image) {
  const Index step = padded_plane(shape.pixels);
  if (shape.layout == Layout::kChannelsLast) {
    transpose_all(planes, step, count, shape.pixels, image + first, shape.channels);
    return;
  }
  for (Index c = 0; c < count; ++c) {
    const V* plane = planes + c * step;
    T* target = image + (first + c) * shape.pixels;
    for (Index p = 0; p < shape.pixels; ++p) target[p] = Store<T>::from(plane[p]);
  }
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_PLANE_BLOCK_H_
