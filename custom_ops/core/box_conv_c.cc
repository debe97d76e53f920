// The C interface of the CUDA kernels.
#include "core/box_conv_c.h"

#include "core/box_conv_cuda.h"

namespace boxconv {
namespace {

const char* text(CudaStatus status) { return status.ok() ? nullptr : status.error(); }

BoxConvProblem problem_of(const boxconv_problem& p) {
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

IntegralImageProblem integral_image_problem_of(const boxconv_problem& p) {
  return {p.batch, p.height, p.width, p.channels, problem_of(p).layout};
}

const char* check(const boxconv_problem& p) {
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

// The types of images and boxes, as a value that a call can take.
template <typename T, typename TBox>
struct Types {
  using Image = T;
  using Box = TBox;
};

template <typename Call>
const char* with_types(const boxconv_problem* p, const Call& call) {
  if (const char* error = check(*p)) return error;
  switch (p->dtype) {
    case BOXCONV_FLOAT16:
      return text(call(Types<Half, float>()));
    case BOXCONV_BFLOAT16:
      return text(call(Types<BFloat16, float>()));
    case BOXCONV_FLOAT32:
      return text(call(Types<float, float>()));
    case BOXCONV_FLOAT64:
      return text(call(Types<double, double>()));
    default:
      return "dtype must be one of BOXCONV_FLOAT16, _BFLOAT16, _FLOAT32 and _FLOAT64";
  }
}

}  // namespace
}  // namespace boxconv

#define IMAGE typename decltype(types)::Image
#define BOX typename decltype(types)::Box

extern "C" {

const char* boxconv_forward_workspace(const boxconv_problem* p, size_t* bytes) {
  return boxconv::with_types(p, [&](auto types) {
    return boxconv::box_conv_forward_cuda_workspace<IMAGE, BOX>(boxconv::problem_of(*p), bytes);
  });
}

const char* boxconv_forward(const boxconv_problem* p, const void* input, const void* boxes,
                            void* output, void* workspace, void* stream) {
  return boxconv::with_types(p, [&](auto types) {
    return boxconv::box_conv_forward_cuda(boxconv::problem_of(*p), static_cast<const IMAGE*>(input),
                                          static_cast<const BOX*>(boxes),
                                          static_cast<IMAGE*>(output), workspace, stream);
  });
}

const char* boxconv_backward_workspace(const boxconv_problem* p, size_t* bytes) {
  return boxconv::with_types(p, [&](auto types) {
    return boxconv::box_conv_backward_cuda_workspace<IMAGE, BOX>(boxconv::problem_of(*p), bytes);
  });
}

const char* boxconv_backward(const boxconv_problem* p, const void* input, const void* boxes,
                             const void* output_grad, void* input_grad, void* boxes_grad,
                             void* workspace, void* stream) {
  return boxconv::with_types(p, [&](auto types) {
    return boxconv::box_conv_backward_cuda(
        boxconv::problem_of(*p), static_cast<const IMAGE*>(input), static_cast<const BOX*>(boxes),
        static_cast<const IMAGE*>(output_grad), static_cast<IMAGE*>(input_grad),
        static_cast<BOX*>(boxes_grad), workspace, stream);
  });
}

const char* boxconv_integral_image_workspace(const boxconv_problem* p, int32_t float32_table,
                                             size_t* bytes) {
  return boxconv::with_types(p, [&](auto types) {
    const auto problem = boxconv::integral_image_problem_of(*p);
    return float32_table ? boxconv::integral_image_cuda_workspace<IMAGE, float>(problem, bytes)
                         : boxconv::integral_image_cuda_workspace<IMAGE, double>(problem, bytes);
  });
}

const char* boxconv_integral_image(const boxconv_problem* p, int32_t float32_table,
                                   const void* input, void* table, void* workspace, void* stream) {
  return boxconv::with_types(p, [&](auto types) {
    const auto problem = boxconv::integral_image_problem_of(*p);
    const auto* images = static_cast<const IMAGE*>(input);
    return float32_table ? boxconv::integral_image_cuda(problem, images, static_cast<float*>(table),
                                                        workspace, stream)
                         : boxconv::integral_image_cuda(
                               problem, images, static_cast<double*>(table), workspace, stream);
  });
}

}  // extern "C"
