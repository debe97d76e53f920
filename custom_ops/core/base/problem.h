// Shapes and options of a box convolution or an integral image: all arguments except the arrays.
#ifndef BOXCONV_CORE_BASE_PROBLEM_H_
#define BOXCONV_CORE_BASE_PROBLEM_H_

#include "core/base/platform.h"

namespace boxconv {

enum class Layout { kChannelsLast, kChannelsFirst };

// The sum over a box is divided by 1 (none), by the area of the box (area), or by the area of the
// part of the box that lies inside the image (valid).
enum class Normalization { kNone, kArea, kValid };

enum class Status { kOk, kOutOfMemory };

// Input [batch, height, width, channels] or [batch, channels, height, width].
// Boxes [channels, boxes_per_channel, 4] as (y_min, x_min, y_max, x_max), in pixels relative to the
// centre of the output pixel.
// Output [batch, out_height, out_width, out_channels] or [batch, out_channels, out_height,
// out_width]. Its channel c * boxes_per_channel + m is input channel c convolved with its box m.
// Its pixel (i, j) is the response at pixel (i * stride_y, j * stride_x) of the input.
struct BoxConvProblem {
  Index batch = 0, height = 0, width = 0, channels = 0, boxes_per_channel = 0;
  Index stride_y = 1, stride_x = 1;
  Layout layout = Layout::kChannelsLast;
  Normalization normalization = Normalization::kArea;
  // On the CPU, the input and its gradient may be `channels` neighbouring channels of images with
  // more channels, this many. 0: they are the whole images.
  Index image_channels = 0;

  BOXCONV_HOST_DEVICE Index out_height() const { return (height + stride_y - 1) / stride_y; }
  BOXCONV_HOST_DEVICE Index out_width() const { return (width + stride_x - 1) / stride_x; }
  BOXCONV_HOST_DEVICE Index out_channels() const { return channels * boxes_per_channel; }
  // From one image of a tensor to the next.
  BOXCONV_HOST_DEVICE Index input_stride() const {
    return height * width * max_index(channels, image_channels);
  }
  BOXCONV_HOST_DEVICE Index output_stride() const {
    return out_height() * out_width() * out_channels();
  }
  // Number of elements of each array.
  BOXCONV_HOST_DEVICE Index input_size() const { return batch * height * width * channels; }
  BOXCONV_HOST_DEVICE Index output_size() const {
    return batch * out_height() * out_width() * out_channels();
  }
  BOXCONV_HOST_DEVICE Index boxes_size() const { return out_channels() * 4; }
};

// A box convolution followed by a 1x1 convolution: the responses of each pixel, `out_channels()`
// values, are multiplied by the matrix `kernel` [out_channels, filters], and `bias` [filters] is
// added. Output [batch, out_height, out_width, filters] or [batch, filters, out_height, out_width].
struct SeparableBoxConvProblem {
  BoxConvProblem box_conv;
  Index filters = 0;

  Index kernel_size() const { return box_conv.out_channels() * filters; }
  Index output_size() const {
    return box_conv.batch * box_conv.out_height() * box_conv.out_width() * filters;
  }
};

// The integral image (summed-area table) of each plane has a leading row and column of zeros:
// [batch, height + 1, width + 1, channels] or [batch, channels, height + 1, width + 1].
struct IntegralImageProblem {
  Index batch = 0, height = 0, width = 0, channels = 0;
  Layout layout = Layout::kChannelsLast;
};

}  // namespace boxconv

#endif  // BOXCONV_CORE_BASE_PROBLEM_H_
