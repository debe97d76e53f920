// The forward pass for small planes of many images, with the images in the lanes. For each tile:
//
//   1. copy the tile's channels to planes,
//   2. for each box: sum over the box's rows, down the columns of its plane,
//   3. then sum over the box's columns, along the rows of those sums,
//   4. store the responses.
//
// A box is set up once for all images of the tile, and nothing is transposed between steps 2 and 3.
#ifndef BOXCONV_CORE_CPU_BOX_CONV_SMALL_PLANES_FORWARD_H_
#define BOXCONV_CORE_CPU_BOX_CONV_SMALL_PLANES_FORWARD_H_

#include <cstring>

#include "core/base/problem.h"
#include "core/cpu/image_rows.h"
#include "core/cpu/plane_windows.h"
#include "core/cpu/scratch.h"
#include "core/cpu/small_plane_windows.h"
#include "core/cpu/small_planes.h"
#include "core/cpu/valid_extent.h"
#include "core/geometry/box_extent.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The axes of a plane whose pixels have `lines` values, one for each image.
inline PlaneAxis column_axis(const BoxConvProblem& p, Index lines) {
  return {p.height, p.width * lines, p.width, lines};
}
inline PlaneAxis row_axis(const BoxConvProblem& p, Index lines) {
  return {p.width, lines, p.height, p.width * lines};
}

// Pixels of channels-last images are prefetched this many pixels ahead.
constexpr Index kPrefetchPixels = 3;

// Prefetches some channels of a pixel in each of `count` channels-last images. Hardware prefetchers
// do not follow loops that visit one pixel of each image in turn.
template <typename T>
BOXCONV_INLINE void prefetch_pixel(const ImageShape& shape, const T* images, Index pixel,
                                   Index count, Index channels) {
  constexpr Index n = kCacheLineBytes / sizeof(T);
  const T* address = images + min_index(pixel, shape.height * shape.width - 1) * shape.channels;
  for (Index i = 0; i < count; ++i) {
    for (Index c = 0; c < channels; c += n) __builtin_prefetch(address + c);
    address += shape.size();
  }
}

// The number of channels in a patch of PaddedPatch.
template <typename V>
BOXCONV_INLINE Index padded_channels(Index channels) {
  return round_up(channels, kMaxPatch<V>);
}

// One pixel of `lines` images. Groups with fewer images, and channels that do not fill a patch of
// transpose(), are padded here, because transposing the remainder value by value is slow.
template <typename T>
struct PaddedPatch {
  static constexpr Index kStride = kMaxSmallPlaneChannels;
  T values[kGroupRows<typename PlaneType<T>::type> * kStride] = {};
};

// Loads whole planes of a group of images: sets planes[c * plane_stride + pixel * lines + i] to
// channel channels.first + c of image images.first + i, and to zero for i >= images.count. There
// must be padded_channels(channels.count) planes.
template <typename T, typename V>
void load_small_planes(const ImageShape& shape, const T* images_begin, Span images, Span channels,
                       V* planes, Index plane_stride, Index lines) {
  const Index pixels = shape.height * shape.width, stride = shape.size();
  const T* in = images_begin + images.first * stride + shape.offset(0, 0, channels.first);
  if (!shape.channels_last()) {
    for (Index c = 0; c < channels.count; ++c) {
      V* plane = planes + c * plane_stride;
      if (images.count < lines) clear(plane, pixels * lines);
      transpose(in + c * pixels, stride, images.count, pixels, plane, lines);
    }
    return;
  }
  const Index padded = padded_channels<V>(channels.count);
  const bool whole = images.count == lines && channels.count == padded;
  PaddedPatch<T> patch;
  for (Index pixel = 0; pixel < pixels; ++pixel) {
    prefetch_pixel(shape, in, pixel + kPrefetchPixels, images.count, channels.count);
    const T* source = in + pixel * shape.channels;
    if (!whole) {
      for (Index i = 0; i < images.count; ++i) {
        std::memcpy(patch.values + i * patch.kStride, source + i * stride,
                    channels.count * sizeof(T));
      }
    }
    transpose(whole ? source : patch.values, whole ? stride : patch.kStride, lines, padded,
              planes + pixel * lines, plane_stride);
  }
}

// The inverse of load_small_planes.
template <typename V, typename T>
void store_small_planes(const ImageShape& shape, const V* planes, Index plane_stride, Index lines,
                        Span images, Span channels, T* images_begin) {
  const Index pixels = shape.height * shape.width, stride = shape.size();
  T* out = images_begin + images.first * stride + shape.offset(0, 0, channels.first);
  if (!shape.channels_last()) {
    for (Index c = 0; c < channels.count; ++c) {
      transpose(planes + c * plane_stride, lines, pixels, images.count, out + c * pixels, stride);
    }
    return;
  }
  const Index padded = padded_channels<V>(channels.count);
  const bool whole = images.count == lines && channels.count == padded;
  PaddedPatch<T> patch;
  // A few images at a time, so that each cache line is written at once.
  constexpr Index n = kMaxPatch<V>;
  for (Index pixel = 0; pixel < pixels; ++pixel) {
    prefetch_pixel(shape, out, pixel + kPrefetchPixels, images.count, channels.count);
    T* target = out + pixel * shape.channels;
    for (Index i = 0; i < images.count; i += n) {
      transpose(planes + pixel * lines + i, plane_stride, padded, min_index(n, lines - i),
                whole ? target + i * stride : patch.values + i * patch.kStride,
                whole ? stride : patch.kStride);
    }
    if (!whole) {
      for (Index i = 0; i < images.count; ++i) {
        std::memcpy(target + i * stride, patch.values + i * patch.kStride,
                    channels.count * sizeof(T));
      }
    }
  }
}

// Keeps every stride-th pixel of a plane of p.height x p.width pixels, in the order of the output.
template <typename V>
void keep_strided_pixels(const BoxConvProblem& p, Index lines, V* plane) {
  V* out = plane;
  for (Index y = 0; y < p.height; y += p.stride_y) {
    for (Index x = 0; x < p.width; x += p.stride_x) {
      const V* pixel = plane + (y * p.width + x) * lines;
      for (Index i = 0; i < lines; ++i) out[i] = pixel[i];
      out += lines;
    }
  }
}

// Multiplies a plane by the factors of normalization "valid". `factors` is scratch memory for a row.
template <typename V>
void apply_valid_factors(const BoxConvProblem& p, const BoxEdges& box, Index lines, V* factors,
                         V* plane) {
  const ValidFactors of_rows = valid_row_factors(p, box);
  const ValidFactors of_columns = valid_column_factors(p, box);
  for (Index x = 0; x < p.width; ++x) factors[x] = bounded_factor<V>(of_columns.at(x).factor);
  for (Index y = 0; y < p.height; ++y) {
    const V factor = bounded_factor<V>(of_rows.at(y).factor);
    for (Index x = 0; x < p.width; ++x) {
      const V product = factor * factors[x];
      for (Index i = 0; i < lines; i += kLanes<V>) {
        store_vector<V>(load_vector(plane + i) * product, plane + i);
      }
      plane += lines;
    }
  }
}

template <typename T, typename TBox>
class SmallPlanesForwardKernel {
 public:
  using V = typename PlaneType<T>::type;

  // Allocates scratch memory for any tile of `tiling`. Check ok() before anything else.
  SmallPlanesForwardKernel(const BoxConvProblem& p, const TBox* boxes,
                           const SmallPlaneTiling& tiling)
      : p_(p),
        boxes_(boxes),
        max_channels_(tiling.max_channels()),
        in_place_(p.boxes_per_channel == 1) {
    const Index plane_size = p.height * p.width * tiling.max_lines();
    plane_stride_ = padded_stride(plane_size);
    const Index planes_size = padded_channels<V>(max_channels_) * plane_stride_;
    ok_ = scratch_.allocate([&] {
      planes_ = scratch_.array<V>(planes_size);
      responses_ = in_place_ ? planes_ : scratch_.array<V>(planes_size);
      column_sums_ = scratch_.array<V>(plane_size);
      suffix_ = scratch_.array<V>(
          SmallPlaneWindows<V, kGroupRows<V>>::suffix_size(max_index(p.height, p.width)));
      factors_ = scratch_.array<V>(p.width);
    });
  }

  bool ok() const { return ok_; }

  void run(const SmallPlaneTile& tile, const T* input, T* output) const {
    if (tile.lines == kGroupRows<V>) {
      run<kGroupRows<V>>(tile, input, output);
    } else {
      run<kLanes<V>>(tile, input, output);
    }
  }

 private:
  template <int kLines>
  void run(const SmallPlaneTile& tile, const T* input, T* output) const {
    load_small_planes(input_shape(p_), input, tile.images, tile.channels, planes_, plane_stride_,
                      kLines);
    // The responses of a few boxes at a time are kept and stored, whole cache lines if possible.
    const Index first = tile.channels.first * p_.boxes_per_channel;
    const Index count = tile.channels.count * p_.boxes_per_channel;
    for (Index begin = 0; begin < count; begin += max_channels_) {
      const Span boxes{first + begin, min_index(max_channels_, count - begin)};
      for (Index i = 0; i < boxes.count; ++i) {
        respond<kLines>(box_edges(boxes_ + (boxes.first + i) * 4),
                        planes_ + (begin + i) / p_.boxes_per_channel * plane_stride_,
                        responses_ + i * plane_stride_);
      }
      store_small_planes(output_shape(p_), responses_, plane_stride_, kLines, tile.images, boxes,
                         output);
    }
  }

  template <int kLines>
  void respond(const BoxEdges& box, const V* plane, V* responses) const {
    if (box.empty) {
      clear(responses, p_.height * p_.width * kLines);
      return;
    }
    const SmallPlaneWindows<V, kLines> windows(suffix_);
    const double factor = common_factor<V>(p_, box);
    windows.slide(sliding_window<V>(box.top, box.bottom, 1.0, p_.height), column_axis(p_, kLines),
                  plane, column_sums_);
    windows.slide(sliding_window<V>(box.left, box.right, factor, p_.width), row_axis(p_, kLines),
                  column_sums_, responses);
    if (p_.normalization == Normalization::kValid) {
      apply_valid_factors(p_, box, kLines, factors_, responses);
    }
    if (p_.stride_y > 1 || p_.stride_x > 1) keep_strided_pixels(p_, kLines, responses);
  }

  const BoxConvProblem& p_;
  const TBox* boxes_;
  const Index max_channels_;
  const bool in_place_;  // the responses of a channel's only box overwrite the plane
  Index plane_stride_;
  Scratch scratch_;
  bool ok_;
  V *planes_, *responses_, *column_sums_, *suffix_, *factors_;
};

// The number of images in a vector.
template <typename T>
Index image_lanes() {
  return kLanes<typename PlaneType<T>::type>;
}

template <typename T, typename TBox>
bool small_planes_forward(const BoxConvProblem& p, const SmallPlaneTiling& tiling, const T* input,
                          const TBox* boxes, T* output, Index begin, Index end) {
  const SmallPlanesForwardKernel<T, TBox> kernel(p, boxes, tiling);
  if (!kernel.ok()) return false;
  for (Index i = begin; i < end;) {
    const Index units = tiling.joined(i, end);
    kernel.run(tiling.tile(i, units), input, output);
    i += units;
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_SMALL_PLANES_FORWARD_H_
