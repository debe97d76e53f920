// How rows of an image in either layout become rows of planes, and the way back.
//
// Channels-last pixels pass through tiles of a few pixels by as many channels, transposed in
// registers. What does not fill a tile, or is of another type, is first copied to one.
#ifndef BOXCONV_CORE_PIXEL_ROWS_H_
#define BOXCONV_CORE_PIXEL_ROWS_H_

#include <type_traits>

#include "core/box_conv.h"
#include "core/half.h"
#include "core/lanes.h"
#include "core/plane_windows.h"
#include "core/platform.h"
#include "core/prefetcher.h"
#include "core/work_units.h"

namespace boxconv {
namespace BOXCONV_ISA {

// One image of a tensor.
struct ImageShape {
  Index height, width, channels;
  Layout layout;

  Index size() const { return height * width * channels; }
  Index offset(Index y, Index x, Index c) const {
    return y * row_step() + x * pixel_step() + c * channel_step();
  }
  bool channels_last() const { return layout == Layout::kChannelsLast; }
  // Distances in values between neighbours along each axis.
  Index row_step() const { return channels_last() ? width * channels : width; }
  Index pixel_step() const { return channels_last() ? channels : 1; }
  Index channel_step() const { return channels_last() ? 1 : height * width; }
};

// to[j * to_step + i] = from[i * from_step + j] for i < rows and j < columns, at most a tile.
template <typename From, typename To>
BOXCONV_HOST_DEVICE void transpose_part(const From* from, Index from_step, Index rows,
                                        Index columns, To* to, Index to_step) {
  for (Index j = 0; j < columns; ++j) {
    for (Index i = 0; i < rows; ++i) {
      to[j * to_step + i] = Store<To>::from(load(from[i * from_step + j]));
    }
  }
}

// The same for planes and images, `to` or `from` being the plane's. Whole tiles go through
// registers; those of another type are converted row by row first, which compilers vectorise.
template <typename T, typename V>
BOXCONV_HOST_DEVICE void load_tile(const T* from, Index from_step, Index rows, Index columns, V* to,
                                   Index to_step) {
  constexpr int n = kLanes<V>;
  if (rows < n || columns < n) {
    transpose_part(from, from_step, rows, columns, to, to_step);
  } else if constexpr (std::is_same<T, V>::value) {
    transpose_tile(from, from_step, to, to_step);
  } else {
    V tile[n * n];
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) tile[i * n + j] = load(from[i * from_step + j]);
    }
    transpose_tile(tile, n, to, to_step);
  }
}

template <typename V, typename T>
BOXCONV_HOST_DEVICE void store_tile(const V* from, Index from_step, Index rows, Index columns,
                                    T* to, Index to_step) {
  constexpr int n = kLanes<V>;
  if (rows < n || columns < n) {
    transpose_part(from, from_step, rows, columns, to, to_step);
  } else if constexpr (std::is_same<T, V>::value) {
    transpose_tile(from, from_step, to, to_step);
  } else {
    V tile[n * n];
    transpose_tile(from, from_step, tile, n);
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) to[i * to_step + j] = Store<T>::from(tile[i * n + j]);
    }
  }
}

// Asks for the first cache line of some channels of each pixel. Only channels-last images whose
// pixels are several lines long need it.
template <typename T>
Prefetcher pixel_prefetcher(const ImageShape& shape, const T* image, Span rows, Span columns,
                            Span channels) {
  const Index step = shape.channels * static_cast<Index>(sizeof(T));
  if (!shape.channels_last() || columns.count < shape.width || step < 2 * kCacheLine ||
      rows.count * columns.count == 0) {
    return Prefetcher();
  }
  return Prefetcher(image + shape.offset(rows.first, columns.first, channels.first),
                    rows.count * columns.count, step);
}

// Whether a block of channels begins a cache line, or shares it with the block before.
template <typename T>
bool begins_line(Span channels) {
  return channels.first * static_cast<Index>(sizeof(T)) % kCacheLine == 0;
}

// planes[c * step + x] = pixel columns.first + x of row `y`, channel channels.first + c.
template <typename T, typename V>
void load_row(const ImageShape& shape, const T* image, Index y, Span columns, Span channels,
              V* planes, Index step) {
  constexpr Index n = kLanes<V>;
  const T* row = image + shape.offset(y, columns.first, channels.first);
  if (!shape.channels_last()) {
    for (Index c = 0; c < channels.count; ++c) {
      const T* source = row + c * shape.channel_step();
      V* plane = planes + c * step;
      for (Index x = 0; x < columns.count; ++x) plane[x] = load(source[x]);
    }
    return;
  }
  for (Index x = 0; x < columns.count; x += n) {
    const T* pixels = row + x * shape.channels;
    const Index width = smaller(n, columns.count - x);
    for (Index c = 0; c < channels.count; c += n) {
      const Index depth = smaller(n, channels.count - c);
      load_tile(pixels + c, shape.channels, width, depth, planes + c * step + x, step);
    }
  }
}

// Some rows, columns and channels as planes, planes[c * plane_step + y * row_step + x], with the
// padding to whole vectors cleared.
template <typename T, typename V>
void load_planes(const ImageShape& shape, const T* image, Span rows, Span columns, Span channels,
                 V* planes, Index row_step, Index plane_step) {
  for (Index y = 0; y < rows.count; ++y) {
    V* row = planes + y * row_step;
    load_row(shape, image, rows.first + y, columns, channels, row, plane_step);
    for (Index c = 0; c < channels.count; ++c) {
      clear(row + c * plane_step + columns.count, padded_width(columns.count) - columns.count);
    }
  }
}

// The way back: row `y` of some columns and channels, from planes.
template <typename V, typename T>
void store_row(const ImageShape& shape, const V* planes, Index step, Index y, Span columns,
               Span channels, T* image) {
  constexpr Index n = kLanes<V>;
  T* row = image + shape.offset(y, columns.first, channels.first);
  if (!shape.channels_last()) {
    for (Index c = 0; c < channels.count; ++c) {
      const V* plane = planes + c * step;
      T* target = row + c * shape.channel_step();
      for (Index x = 0; x < columns.count; ++x) target[x] = Store<T>::from(plane[x]);
    }
    return;
  }
  for (Index x = 0; x < columns.count; x += n) {
    T* pixels = row + x * shape.channels;
    const Index width = smaller(n, columns.count - x);
    for (Index c = 0; c < channels.count; c += n) {
      const Index depth = smaller(n, channels.count - c);
      store_tile(planes + c * step + x, step, depth, width, pixels + c, shape.channels);
    }
  }
}

// Stores some rows, as many as strips have lines or fewer, of some columns and channels:
// strips[c * step + x * pixel_step + i] is pixel x of row i.
template <typename V, typename T>
void store_strips(const ImageShape& shape, const V* strips, Index step, Index pixel_step, Span rows,
                  Span columns, Span channels, T* image) {
  constexpr Index n = kLanes<V>;
  const Index row_step = shape.row_step();
  T* origin = image + shape.offset(rows.first, columns.first, channels.first);
  if (shape.channels_last()) {
    for (Index i = 0; i < rows.count; i += n) {
      for (Index x = 0; x < columns.count; ++x) {
        for (Index c = 0; c < channels.count; c += n) {
          const Index depth = smaller(n, channels.count - c);
          const Index lines = smaller(n, rows.count - i);
          store_tile(strips + c * step + x * pixel_step + i, step, depth, lines,
                     origin + i * row_step + x * shape.channels + c, row_step);
        }
      }
    }
    return;
  }
  for (Index c = 0; c < channels.count; ++c) {
    for (Index i = 0; i < rows.count; i += n) {
      const Index lines = smaller(n, rows.count - i);
      for (Index x = 0; x < columns.count; x += n) {
        const Index width = smaller(n, columns.count - x);
        store_tile(strips + c * step + x * pixel_step + i, pixel_step, width, lines,
                   origin + c * shape.channel_step() + i * row_step + x, row_step);
      }
    }
  }
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_PIXEL_ROWS_H_
