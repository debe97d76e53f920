// The C interface of the CUDA kernels.
#include "core/base/dispatch.h"
#include "core/c_api/boxconv.h"
#include "core/c_api/problem.h"
#include "core/cuda/box_conv.h"

namespace boxconv {
namespace cuda {
namespace {

const char* message(Status status) { return status.ok() ? nullptr : status.error(); }

const char* forward(const boxconv_problem& p, const void* input, const void* boxes, void* output,
                    void* workspace, void* stream) {
  return check_and_dispatch_box_types(p, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    return message(box_conv_forward(problem_of(p), static_cast<const T*>(input),
                                    static_cast<const TBox*>(boxes), static_cast<T*>(output),
                                    workspace, stream));
  });
}

const char* backward(const boxconv_problem& p, const void* input, const void* boxes,
                     const void* output_grad, void* input_grad, void* boxes_grad, void* workspace,
                     void* stream) {
  return check_and_dispatch_box_types(p, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    return message(box_conv_backward(
        problem_of(p), static_cast<const T*>(input), static_cast<const TBox*>(boxes),
        static_cast<const T*>(output_grad), static_cast<T*>(input_grad),
        static_cast<TBox*>(boxes_grad), workspace, stream));
  });
}

const char* compute_table(const boxconv_problem& p, bool float32_table, const void* input,
                          void* table, void* stream) {
  return check_and_dispatch_table_types(p, float32_table, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TTable = typename decltype(types)::Table;
    return message(integral_image(integral_image_problem_of(p), static_cast<const T*>(input),
                                  static_cast<TTable*>(table), stream));
  });
}

}  // namespace
}  // namespace cuda
}  // namespace boxconv

extern "C" {

const char* boxconv_cuda_forward_workspace(const boxconv_problem* problem, size_t* bytes) {
  return boxconv::check_and_dispatch_box_types(*problem, [&](auto types) {
    return boxconv::cuda::message(
        boxconv::cuda::box_conv_forward_workspace<typename decltype(types)::Image,
                                                  typename decltype(types)::Box>(
            boxconv::problem_of(*problem), bytes));
  });
}

const char* boxconv_cuda_forward(const boxconv_problem* problem, const void* input,
                                 const void* boxes, void* output, void* workspace, void* stream) {
  return boxconv::cuda::forward(*problem, input, boxes, output, workspace, stream);
}

const char* boxconv_cuda_backward_workspace(const boxconv_problem* problem, size_t* bytes) {
  return boxconv::check_and_dispatch_box_types(*problem, [&](auto types) {
    return boxconv::cuda::message(
        boxconv::cuda::box_conv_backward_workspace<typename decltype(types)::Image,
                                                   typename decltype(types)::Box>(
            boxconv::problem_of(*problem), bytes));
  });
}

const char* boxconv_cuda_backward(const boxconv_problem* problem, const void* input,
                                  const void* boxes, const void* output_grad, void* input_grad,
                                  void* boxes_grad, void* workspace, void* stream) {
  return boxconv::cuda::backward(*problem, input, boxes, output_grad, input_grad, boxes_grad,
                                 workspace, stream);
}

const char* boxconv_cuda_integral_image(const boxconv_problem* problem, int32_t float32_table,
                                        const void* input, void* table, void* stream) {
  return boxconv::cuda::compute_table(*problem, float32_table != 0, input, table, stream);
}

}  // extern "C"
