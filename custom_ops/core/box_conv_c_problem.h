// What the C interfaces of the CPU's and CUDA's kernels share: problems and types in core's terms.
#ifndef BOXCONV_CORE_BOX_CONV_C_PROBLEM_H_
#define BOXCONV_CORE_BOX_CONV_C_PROBLEM_H_

#include "core/box_conv.h"
#include "core/box_conv_c.h"

namespace boxconv {

inline BoxConvProblem problem_of(const boxconv_problem& p) {
  BoxConvProblem problem;
  problem.batch = p.batch;
  problem.height = p.height;
  problem.width = p.width;
  problem.channels = p.channels;
  problem.boxes_per_channel = p.boxes_per_channel;
  problem.stride_y = p.stride_y;
  problem.stride_x = p.stride_x;
  problem.layout =
      p.layout == BOXCONV_CHANNELS_FIRST ? Layout::kChannelsFirst : Layout::kChannelsLast;
  problem.normalization = p.normalization == BOXCONV_NONE   ? Normalization::kNone
                          : p.normalization == BOXCONV_AREA ? Normalization::kArea
                                                            : Normalization::kValid;
  return problem;
}

inline IntegralImageProblem integral_image_problem_of(const boxconv_problem& p) {
  return {p.batch, p.height, p.width, p.channels, problem_of(p).layout};
}

inline const char* check(const boxconv_problem& p) {
  if (p.batch < 0 || p.height < 0 || p.width < 0 || p.channels < 0 || p.boxes_per_channel < 0) {
    return "sizes must not be negative";
  }
  if (p.stride_y < 1 || p.stride_x < 1) return "strides must be positive";
  if (p.layout < BOXCONV_CHANNELS_LAST || p.layout > BOXCONV_CHANNELS_FIRST) {
    return "layout must be BOXCONV_CHANNELS_LAST or BOXCONV_CHANNELS_FIRST";
  }
  if (p.normalization < BOXCONV_NONE || p.normalization > BOXCONV_VALID) {
    return "normalization must be BOXCONV_NONE, BOXCONV_AREA or BOXCONV_VALID";
  }
  return nullptr;
}

// The types of images and boxes, as a value that a call can take; IMAGE and BOX name them in it.
template <typename T, typename TBox>
struct Types {
  using Image = T;
  using Box = TBox;
};

// Checks the problem and returns what call(types) does, a text or NULL.
template <typename Call>
const char* with_types(const boxconv_problem* p, const Call& call) {
  if (const char* error = check(*p)) return error;
  switch (p->dtype) {
    case BOXCONV_FLOAT16:
      return call(Types<Half, float>());
    case BOXCONV_BFLOAT16:
      return call(Types<BFloat16, float>());
    case BOXCONV_FLOAT32:
      return call(Types<float, float>());
    case BOXCONV_FLOAT64:
      return call(Types<double, double>());
    default:
      return "dtype must be one of BOXCONV_FLOAT16, _BFLOAT16, _FLOAT32 and _FLOAT64";
  }
}

}  // namespace boxconv

#define IMAGE typename decltype(types)::Image
#define BOX typename decltype(types)::Box

#endif  // BOXCONV_CORE_BOX_CONV_C_PROBLEM_H_
