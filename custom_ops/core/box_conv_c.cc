// The C interface of the CUDA kernels.
#include "core/box_conv_c.h"

#include "core/box_conv_c_problem.h"
#include "core/box_conv_cuda.h"

namespace boxconv {
namespace {

const char* text(CudaStatus status) { return status.ok() ? nullptr : status.error(); }

}  // namespace
}  // namespace boxconv

extern "C" {

const char* boxconv_forward_workspace(const boxconv_problem* p, size_t* bytes) {
  return boxconv::with_types(p, [&](auto types) {
    return boxconv::text(
        boxconv::box_conv_forward_cuda_workspace<IMAGE, BOX>(boxconv::problem_of(*p), bytes));
  });
}

const char* boxconv_forward(const boxconv_problem* p, const void* input, const void* boxes,
                            void* output, void* workspace, void* stream) {
  return boxconv::with_types(p, [&](auto types) {
    return boxconv::text(boxconv::box_conv_forward_cuda(
        boxconv::problem_of(*p), static_cast<const IMAGE*>(input), static_cast<const BOX*>(boxes),
        static_cast<IMAGE*>(output), workspace, stream));
  });
}

const char* boxconv_backward_workspace(const boxconv_problem* p, size_t* bytes) {
  return boxconv::with_types(p, [&](auto types) {
    return boxconv::text(
        boxconv::box_conv_backward_cuda_workspace<IMAGE, BOX>(boxconv::problem_of(*p), bytes));
  });
}

const char* boxconv_backward(const boxconv_problem* p, const void* input, const void* boxes,
                             const void* output_grad, void* input_grad, void* boxes_grad,
                             void* workspace, void* stream) {
  return boxconv::with_types(p, [&](auto types) {
    return boxconv::text(boxconv::box_conv_backward_cuda(
        boxconv::problem_of(*p), static_cast<const IMAGE*>(input), static_cast<const BOX*>(boxes),
        static_cast<const IMAGE*>(output_grad), static_cast<IMAGE*>(input_grad),
        static_cast<BOX*>(boxes_grad), workspace, stream));
  });
}

const char* boxconv_integral_image_workspace(const boxconv_problem* p, int32_t float32_table,
                                             size_t* bytes) {
  return boxconv::with_types(p, [&](auto types) {
    const auto problem = boxconv::integral_image_problem_of(*p);
    return boxconv::text(
        float32_table ? boxconv::integral_image_cuda_workspace<IMAGE, float>(problem, bytes)
                      : boxconv::integral_image_cuda_workspace<IMAGE, double>(problem, bytes));
  });
}

const char* boxconv_integral_image(const boxconv_problem* p, int32_t float32_table,
                                   const void* input, void* table, void* workspace, void* stream) {
  return boxconv::with_types(p, [&](auto types) {
    const auto problem = boxconv::integral_image_problem_of(*p);
    const auto* images = static_cast<const IMAGE*>(input);
    return boxconv::text(
        float32_table ? boxconv::integral_image_cuda(problem, images, static_cast<float*>(table),
                                                     workspace, stream)
                      : boxconv::integral_image_cuda(problem, images, static_cast<double*>(table),
                                                     workspace, stream));
  });
}

}  // extern "C"
