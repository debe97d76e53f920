// Checks the arguments of the C interface and converts them to core's types.
#ifndef BOXCONV_CORE_C_API_PROBLEM_H_
#define BOXCONV_CORE_C_API_PROBLEM_H_

#include "core/base/dispatch.h"
#include "core/base/problem.h"
#include "core/c_api/boxconv.h"

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

inline SeparableBoxConvProblem separable_problem_of(const boxconv_problem& p, Index filters) {
  SeparableBoxConvProblem problem;
  problem.box_conv = problem_of(p);
  problem.filters = filters;
  return problem;
}

inline IntegralImageProblem integral_image_problem_of(const boxconv_problem& p) {
  return {p.batch, p.height, p.width, p.channels, problem_of(p).layout};
}

// Returns an error message, or NULL if the problem is valid.
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
  if (p.dtype < BOXCONV_FLOAT16 || p.dtype > BOXCONV_FLOAT64) {
    return "dtype must be BOXCONV_FLOAT16, BOXCONV_BFLOAT16, BOXCONV_FLOAT32 or BOXCONV_FLOAT64";
  }
  return nullptr;
}

inline DataType dtype_of(const boxconv_problem& p) {
  switch (p.dtype) {
    case BOXCONV_FLOAT16:
      return DataType::kFloat16;
    case BOXCONV_BFLOAT16:
      return DataType::kBFloat16;
    case BOXCONV_FLOAT32:
      return DataType::kFloat32;
    default:
      return DataType::kFloat64;
  }
}

// Returns the error of check(p) if there is one. Otherwise returns call(BoxTypes<T, TBox>()), which
// is an error message or NULL.
template <typename Call>
const char* check_and_dispatch_box_types(const boxconv_problem& p, const Call& call) {
  const char* error = check(p);
  return error != nullptr ? error : with_box_types(dtype_of(p), call);
}

// The same for a box convolution that is followed by a 1x1 convolution with `filters` filters.
template <typename Call>
const char* check_and_dispatch_separable_types(const boxconv_problem& p, Index filters,
                                               const Call& call) {
  if (filters < 0) return "filters must not be negative";
  return check_and_dispatch_box_types(p, call);
}

// The same for integral images: call(TableTypes<T, TTable>()), where TTable is float if
// `float32_table`, and double otherwise.
template <typename Call>
const char* check_and_dispatch_table_types(const boxconv_problem& p, bool float32_table,
                                           const Call& call) {
  const char* error = check(p);
  if (error != nullptr) return error;
  return with_table_types(dtype_of(p), /*double_table=*/!float32_table, call);
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_C_API_PROBLEM_H_
