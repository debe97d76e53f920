// How rows of an image in either layout become rows of planes, and the way back.
//
// Channels-last pixels are transposed, a few of them by as many channels at a time.
#ifndef BOXCONV_CORE_PIXEL_ROWS_H_
#define BOXCONV_CORE_PIXEL_ROWS_H_

#include "core/box_conv.h"
#include "core/lanes.h"
#include "core/plane_windows.h"
#include "core/platform.h"
#include "core/prefetcher.h"
#include "core/transpose.h"
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

// Whether a block of channels begins a cache line, or shares its first with the block before; and
// whether it ends one, or shares its last with the block after.
template <typename T>
bool begins_line(Span channels) {
  return channels.first * static_cast<Index>(sizeof(T)) % kCacheLine == 0;
}
template <typename T>
bool ends_line(Span channels, Index all_channels) {
  const Index end = channels.first + channels.count;
  return end == all_channels || end * static_cast<Index>(sizeof(T)) % kCacheLine == 0;
}

// planes[c * step + x] = pixel columns.first + x of row `y`, channel channels.first + c.
template <typename T, typename V>
void load_row(const ImageShape& shape, const T* image, Index y, Span columns, Span channels,
              V* planes, Index step) {
  const T* row = image + shape.offset(y, columns.first, channels.first);
  if (!shape.channels_last()) {
    for (Index c = 0; c < channels.count; ++c) {
      const T* source = row + c * shape.channel_step();
      V* plane = planes + c * step;
      for (Index x = 0; x < columns.count; ++x) plane[x] = load(source[x]);
    }
    return;
  }
  transpose(row, shape.channels, columns.count, channels.count, planes, step);
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
  T* row = image + shape.offset(y, columns.first, channels.first);
  if (!shape.channels_last()) {
    for (Index c = 0; c < channels.count; ++c) {
      const V* plane = planes + c * step;
      T* target = row + c * shape.channel_step();
      for (Index x = 0; x < columns.count; ++x) target[x] = Store<T>::from(plane[x]);
    }
    return;
  }
  transpose(planes, step, channels.count, columns.count, row, shape.channels);
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_PIXEL_ROWS_H_
