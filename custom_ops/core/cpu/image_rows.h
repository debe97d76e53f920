// Copies rows of an image, in either layout, to rows of planes and back. Channels-last pixels are
// transposed.
#ifndef BOXCONV_CORE_CPU_IMAGE_ROWS_H_
#define BOXCONV_CORE_CPU_IMAGE_ROWS_H_

#include "core/base/problem.h"
#include "core/cpu/convert.h"
#include "core/cpu/plane_windows.h"
#include "core/cpu/prefetcher.h"
#include "core/cpu/tiling.h"
#include "core/cpu/transpose.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The shape of one image of a tensor, and the strides of its axes.
struct ImageShape {
  Index height, width, channels;
  Layout layout;

  BOXCONV_INLINE Index size() const { return height * width * channels; }
  BOXCONV_INLINE Index offset(Index y, Index x, Index c) const {
    return y * row_stride() + x * pixel_stride() + c * channel_stride();
  }
  BOXCONV_INLINE bool channels_last() const { return layout == Layout::kChannelsLast; }
  BOXCONV_INLINE Index row_stride() const { return channels_last() ? width * channels : width; }
  BOXCONV_INLINE Index pixel_stride() const { return channels_last() ? channels : 1; }
  BOXCONV_INLINE Index channel_stride() const { return channels_last() ? 1 : height * width; }
};

inline ImageShape input_shape(const BoxConvProblem& p) {
  return {p.height, p.width, max_index(p.channels, p.image_channels), p.layout};
}
inline ImageShape output_shape(const BoxConvProblem& p) {
  return {p.out_height(), p.out_width(), p.out_channels(), p.layout};
}

// Returns a prefetcher for the first cache line of the given channels of each pixel. It does
// nothing unless the image is channels-last, its rows are read whole, and a pixel spans at least
// two cache lines.
template <typename T>
Prefetcher pixel_prefetcher(const ImageShape& shape, const T* image, Span rows, Span columns,
                            Span channels) {
  const Index stride_bytes = shape.channels * static_cast<Index>(sizeof(T));
  if (!shape.channels_last() || columns.count < shape.width || stride_bytes < 2 * kCacheLineBytes ||
      rows.count * columns.count == 0) {
    return Prefetcher();
  }
  return Prefetcher(image + shape.offset(rows.first, columns.first, channels.first),
                    rows.count * columns.count, stride_bytes);
}

// Whether a group of channels begins at the start of a cache line.
template <typename T>
bool begins_cache_line(Span channels) {
  return channels.first * static_cast<Index>(sizeof(T)) % kCacheLineBytes == 0;
}
// Whether a group of channels ends at the end of a cache line, or is the last of the image's
// `channel_count` channels.
template <typename T>
bool ends_cache_line(Span channels, Index channel_count) {
  const Index end = channels.first + channels.count;
  return end == channel_count || end * static_cast<Index>(sizeof(T)) % kCacheLineBytes == 0;
}

// Sets planes[c * stride + x] to pixel columns.first + x of row `y`, channel channels.first + c.
template <typename T, typename V>
void load_row(const ImageShape& shape, const T* image, Index y, Span columns, Span channels,
              V* planes, Index stride) {
  const T* row = image + shape.offset(y, columns.first, channels.first);
  if (shape.pixel_stride() == 1) {
    for (Index c = 0; c < channels.count; ++c) {
      convert_values(row + c * shape.channel_stride(), columns.count, planes + c * stride);
    }
    return;
  }
  transpose(row, shape.channels, columns.count, channels.count, planes, stride);
}

// Loads the given rows, columns and channels into planes[c * plane_stride + y * row_stride + x].
// Each row is filled with zeros from columns.count to padded_width(columns.count).
template <typename T, typename V>
void load_planes(const ImageShape& shape, const T* image, Span rows, Span columns, Span channels,
                 V* planes, Index row_stride, Index plane_stride) {
  for (Index y = 0; y < rows.count; ++y) {
    V* row = planes + y * row_stride;
    load_row(shape, image, rows.first + y, columns, channels, row, plane_stride);
    for (Index c = 0; c < channels.count; ++c) {
      clear(row + c * plane_stride + columns.count, padded_width(columns.count) - columns.count);
    }
  }
}

// The inverse of load_row: stores planes[c * stride + x] in pixel columns.first + x of row `y`,
// channel channels.first + c.
template <typename V, typename T>
void store_row(const ImageShape& shape, const V* planes, Index stride, Index y, Span columns,
               Span channels, T* image) {
  T* row = image + shape.offset(y, columns.first, channels.first);
  if (shape.pixel_stride() == 1) {
    for (Index c = 0; c < channels.count; ++c) {
      convert_values(planes + c * stride, columns.count, row + c * shape.channel_stride());
    }
    return;
  }
  transpose(planes, stride, channels.count, columns.count, row, shape.channels);
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_IMAGE_ROWS_H_
