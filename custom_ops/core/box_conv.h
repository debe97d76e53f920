// Box convolution and its gradient: its terms, and the interface of core on the CPU.
#ifndef BOXCONV_CORE_BOX_CONV_H_
#define BOXCONV_CORE_BOX_CONV_H_

#include <functional>

#include "core/half.h"
#include "core/platform.h"

namespace boxconv {

enum class Layout { kChannelsLast, kChannelsFirst };

// What a box's sum is divided by: nothing, the box's area, or the area of its part in the image.
enum class Normalization { kNone, kArea, kValid };

enum class Status { kOk, kOutOfMemory };

// Input [batch, height, width, channels] or [batch, channels, height, width]; boxes
// [channels, boxes_per_channel, 4] as (y_min, x_min, y_max, x_max) in pixels from the output's
// centre; output channel c * boxes_per_channel + m, at every stride-th pixel.
struct BoxConvProblem {
  Index batch = 0, height = 0, width = 0, channels = 0, boxes_per_channel = 0;
  Index stride_y = 1, stride_x = 1;
  Layout layout = Layout::kChannelsLast;
  Normalization normalization = Normalization::kArea;

  BOXCONV_HOST_DEVICE Index out_height() const { return (height + stride_y - 1) / stride_y; }
  BOXCONV_HOST_DEVICE Index out_width() const { return (width + stride_x - 1) / stride_x; }
  BOXCONV_HOST_DEVICE Index out_channels() const { return channels * boxes_per_channel; }
  // Elements of each array.
  BOXCONV_HOST_DEVICE Index input_size() const { return batch * height * width * channels; }
  BOXCONV_HOST_DEVICE Index output_size() const {
    return batch * out_height() * out_width() * out_channels();
  }
  BOXCONV_HOST_DEVICE Index boxes_size() const { return out_channels() * 4; }
};

// Runs body(begin, end) over disjoint ranges that cover [0, total), on as many threads as it likes,
// and returns when all are done. `cost` estimates the nanoseconds of one unit.
using ParallelFor =
    std::function<void(Index total, Index cost, const std::function<void(Index, Index)>& body)>;

// Nanoseconds that `pixels` of one channel take, roughly: reading the input, and then each box.
// Measured on one core of an x86-64 server with AVX2.
struct PixelCost {
  double input, box;
  Index of(double pixels, Index boxes_per_channel) const {
    return static_cast<Index>(pixels * (input + box * static_cast<double>(boxes_per_channel))) + 1;
  }
};
constexpr PixelCost kForwardCost{0.3, 0.6}, kBackwardCost{0.6, 1.5};

// T is Half, BFloat16, float or double; TBox is float or double. Each is instantiated in
// box_conv.cc. Results do not depend on how ParallelFor splits the work.
template <typename T, typename TBox>
Status box_conv_forward(const BoxConvProblem& problem, const T* input, const TBox* boxes, T* output,
                        const ParallelFor& parallel_for);

// Gradients with respect to the input and to the boxes, given that of the output, in one call.
template <typename T, typename TBox>
Status box_conv_backward(const BoxConvProblem& problem, const T* input, const TBox* boxes,
                         const T* output_grad, T* input_grad, TBox* boxes_grad,
                         const ParallelFor& parallel_for);

// The summed-area table of each plane, with a leading row and column of zeros:
// [batch, height + 1, width + 1, channels] or [batch, channels, height + 1, width + 1].
struct IntegralImageProblem {
  Index batch = 0, height = 0, width = 0, channels = 0;
  Layout layout = Layout::kChannelsLast;
};

// TTable is float or double; sums are kept in double.
template <typename T, typename TTable>
Status integral_image(const IntegralImageProblem& problem, const T* input, TTable* table,
                      const ParallelFor& parallel_for);

// The instruction set chosen at run time: "baseline", "avx2" or "avx512". The environment variable
// TF_BOXCONV_ISA=baseline, or avx2, turns the wider ones off.
const char* instruction_set();

}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_H_
