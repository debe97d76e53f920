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

// The columns and the rows of a plane.
template <typename V>
PlaneAxis column_axis(const BoxConvProblem& p) {
  return {p.height, p.width * kLanes<V>, p.width, kLanes<V>};
}
template <typename V>
PlaneAxis row_axis(const BoxConvProblem& p) {
  return {p.width, kLanes<V>, p.height, p.width * kLanes<V>};
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

// The number of planes for `channels` channels: whole patches of transpose().
template <typename V>
BOXCONV_INLINE Index padded_planes(Index channels) {
  return round_up(channels, kLanes<V>);
}

// One pixel of a group of images. Images and channels that do not fill up the patches of
// transpose() are padded here, because transposing what remains value by value is slow.
template <typename T>
struct PaddedPixel {
  static constexpr Index kStride = kMaxSmallPlaneChannels;
  T values[kLanes<typename PlaneType<T>::type> * kStride] = {};
};

// Loads whole planes of a group of images: sets planes[c * plane_stride + pixel * kLanes<V> + i] to
// channel channels.first + c of image images.first + i, and to zero for i >= images.count. There
// must be padded_planes(channels.count) planes.
template <typename T, typename V>
void load_small_planes(const ImageShape& shape, const T* images_begin, Span images, Span channels,
                       V* planes, Index plane_stride) {
  constexpr Index lanes = kLanes<V>;
  const Index pixels = shape.height * shape.width, stride = shape.size();
  const T* in = images_begin + images.first * stride + shape.offset(0, 0, channels.first);
  if (!shape.channels_last()) {
    for (Index c = 0; c < channels.count; ++c) {
      V* plane = planes + c * plane_stride;
      if (images.count < lanes) clear(plane, pixels * lanes);
      transpose(in + c * pixels, stride, images.count, pixels, plane, lanes);
    }
    return;
  }
  const Index padded = padded_planes<V>(channels.count);
  const bool whole = images.count == lanes && channels.count == padded;
  PaddedPixel<T> padding;
  for (Index pixel = 0; pixel < pixels; ++pixel) {
    prefetch_pixel(shape, in, pixel + kPrefetchPixels, images.count, channels.count);
    const T* source = in + pixel * shape.channels;
    V* target = planes + pixel * lanes;
    if (whole) {
      transpose(source, stride, lanes, padded, target, plane_stride);
      continue;
    }
    for (Index i = 0; i < images.count; ++i) {
      std::memcpy(padding.values + i * padding.kStride, source + i * stride,
                  channels.count * sizeof(T));
    }
    transpose(padding.values, padding.kStride, lanes, padded, target, plane_stride);
  }
}

// The inverse of load_small_planes.
template <typename V, typename T>
void store_small_planes(const ImageShape& shape, const V* planes, Index plane_stride, Span images,
                        Span channels, T* images_begin) {
  constexpr Index lanes = kLanes<V>;
  const Index pixels = shape.height * shape.width, stride = shape.size();
  T* out = images_begin + images.first * stride + shape.offset(0, 0, channels.first);
  if (!shape.channels_last()) {
    for (Index c = 0; c < channels.count; ++c) {
      transpose(planes + c * plane_stride, lanes, pixels, images.count, out + c * pixels, stride);
    }
    return;
  }
  const Index padded = padded_planes<V>(channels.count);
  const bool whole = images.count == lanes && channels.count == padded;
  PaddedPixel<T> padding;
  for (Index pixel = 0; pixel < pixels; ++pixel) {
    prefetch_pixel(shape, out, pixel + kPrefetchPixels, images.count, channels.count);
    const V* source = planes + pixel * lanes;
    T* target = out + pixel * shape.channels;
    if (whole) {
      transpose(source, plane_stride, padded, lanes, target, stride);
      continue;
    }
    transpose(source, plane_stride, padded, lanes, padding.values, padding.kStride);
    for (Index i = 0; i < images.count; ++i) {
      std::memcpy(target + i * stride, padding.values + i * padding.kStride,
                  channels.count * sizeof(T));
    }
  }
}

// Moves the pixels of a plane at the resolution of the input that have an output to the start of
// the plane.
template <typename V>
void gather_outputs(const BoxConvProblem& p, V* plane) {
  V* out = plane;
  for (Index y = 0; y < p.height; y += p.stride_y) {
    for (Index x = 0; x < p.width; x += p.stride_x) {
      store_vector<V>(load_vector(plane + (y * p.width + x) * kLanes<V>), out);
      out += kLanes<V>;
    }
  }
}

// Multiplies a plane by the factors of normalization "valid". `factors` is scratch memory for a
// row.
template <typename V>
void apply_valid_factors(const BoxConvProblem& p, const BoxEdges& box, V* factors, V* plane) {
  const ValidFactors of_rows = valid_row_factors(p, box);
  const ValidFactors of_columns = valid_column_factors(p, box);
  for (Index x = 0; x < p.width; ++x) factors[x] = bounded_factor<V>(of_columns.at(x).factor);
  for (Index y = 0; y < p.height; ++y) {
    const V factor = bounded_factor<V>(of_rows.at(y).factor);
    for (Index x = 0; x < p.width; ++x) {
      store_vector<V>(load_vector(plane) * (factor * factors[x]), plane);
      plane += kLanes<V>;
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
        in_place_(p.boxes_per_channel == 1),
        plane_size_(p.height * p.width * kLanes<V>),
        plane_stride_(padded_stride(plane_size_)) {
    const Index planes_size = padded_planes<V>(max_channels_) * plane_stride_;
    ok_ = scratch_.allocate([&] {
      planes_ = scratch_.array<V>(planes_size);
      responses_ = in_place_ ? planes_ : scratch_.array<V>(planes_size);
      column_sums_ = scratch_.array<V>(plane_size_);
      suffix_ = scratch_.array<V>(SmallPlaneWindows<V>::suffix_size(max_index(p.height, p.width)));
      factors_ = scratch_.array<V>(p.width);
    });
  }

  bool ok() const { return ok_; }

  void run(const SmallPlaneTile& tile, const T* input, T* output) const {
    load_small_planes(input_shape(p_), input, tile.images, tile.channels, planes_, plane_stride_);
    // The responses are stored as soon as there are enough to write whole cache lines.
    const Index first = tile.channels.first * p_.boxes_per_channel;
    const Index count = tile.channels.count * p_.boxes_per_channel;
    for (Index begin = 0; begin < count; begin += max_channels_) {
      const Span boxes{first + begin, min_index(max_channels_, count - begin)};
      for (Index i = 0; i < boxes.count; ++i) {
        respond(box_edges(boxes_ + (boxes.first + i) * 4),
                planes_ + (begin + i) / p_.boxes_per_channel * plane_stride_,
                responses_ + i * plane_stride_);
      }
      store_small_planes(output_shape(p_), responses_, plane_stride_, tile.images, boxes, output);
    }
  }

 private:
  void respond(const BoxEdges& box, const V* plane, V* responses) const {
    if (box.empty) {
      clear(responses, plane_size_);
      return;
    }
    const SmallPlaneWindows<V> windows(suffix_);
    windows.slide(sliding_window<V>(box.top, box.bottom, 1.0, p_.height), column_axis<V>(p_), plane,
                  column_sums_);
    windows.slide(sliding_window<V>(box.left, box.right, common_factor<V>(p_, box), p_.width),
                  row_axis<V>(p_), column_sums_, responses);
    if (p_.normalization == Normalization::kValid) {
      apply_valid_factors(p_, box, factors_, responses);
    }
    if (p_.stride_y > 1 || p_.stride_x > 1) gather_outputs(p_, responses);
  }

  const BoxConvProblem& p_;
  const TBox* boxes_;
  const Index max_channels_;
  const bool in_place_;  // the responses of a channel's only box overwrite the plane of the input
  const Index plane_size_, plane_stride_;
  Scratch scratch_;
  bool ok_;
  V *planes_, *responses_, *column_sums_, *suffix_, *factors_;
};

// The number of images in a group.
template <typename T>
Index images_per_group() {
  return kLanes<typename PlaneType<T>::type>;
}

template <typename T, typename TBox>
bool small_planes_forward(const BoxConvProblem& p, const SmallPlaneTiling& tiling, const T* input,
                          const TBox* boxes, T* output, Index begin, Index end) {
  const SmallPlanesForwardKernel<T, TBox> kernel(p, boxes, tiling);
  if (!kernel.ok()) return false;
  for (Index i = begin; i < end;) {
    const Index units = tiling.joined_units(i, end);
    kernel.run(tiling.tile(i, units), input, output);
    i += units;
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_SMALL_PLANES_FORWARD_H_
