// The C interface of the CPU kernels.
#include "core/base/dispatch.h"
#include "core/c_api/boxconv.h"
#include "core/c_api/problem.h"
#include "core/cpu/box_conv.h"
#include "core/cpu/huge_pages.h"
#include "core/cpu/separable_box_conv.h"
#include "core/cpu/threads.h"

namespace boxconv {
namespace {

const char* message(Status status) {
  return status == Status::kOk ? nullptr : "not enough memory for the operator's temporary arrays";
}

const char* forward(const boxconv_problem& p, const void* input, const void* boxes, void* output,
                    Index threads) {
  return check_and_dispatch_box_types(p, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    const BoxConvProblem problem = problem_of(p);
    advise_huge_pages(output, problem.output_size() * sizeof(T));
    return message(box_conv_forward(problem, static_cast<const T*>(input),
                                    static_cast<const TBox*>(boxes), static_cast<T*>(output),
                                    on_threads(threads)));
  });
}

const char* backward(const boxconv_problem& p, const void* input, const void* boxes,
                     const void* output_grad, void* input_grad, void* boxes_grad, Index threads) {
  return check_and_dispatch_box_types(p, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    const BoxConvProblem problem = problem_of(p);
    advise_huge_pages(input_grad, problem.input_size() * sizeof(T));
    return message(
        box_conv_backward(problem, static_cast<const T*>(input), static_cast<const TBox*>(boxes),
                          static_cast<const T*>(output_grad), static_cast<T*>(input_grad),
                          static_cast<TBox*>(boxes_grad), on_threads(threads)));
  });
}

const char* separable_forward(const boxconv_problem& p, Index filters, const void* input,
                              const void* boxes, const void* kernel, const void* bias, void* output,
                              Index threads) {
  return check_and_dispatch_separable_types(p, filters, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    const SeparableBoxConvProblem problem = separable_problem_of(p, filters);
    advise_huge_pages(output, problem.output_size() * sizeof(T));
    return message(separable_box_conv_forward(
        problem, static_cast<const T*>(input), static_cast<const TBox*>(boxes),
        static_cast<const T*>(kernel), static_cast<const T*>(bias), static_cast<T*>(output),
        on_threads(threads)));
  });
}

const char* separable_backward(const boxconv_problem& p, Index filters, const void* input,
                               const void* boxes, const void* kernel, const void* output_grad,
                               void* input_grad, void* boxes_grad, void* kernel_grad,
                               void* bias_grad, Index threads) {
  return check_and_dispatch_separable_types(p, filters, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    const SeparableBoxConvProblem problem = separable_problem_of(p, filters);
    advise_huge_pages(input_grad, problem.box_conv.input_size() * sizeof(T));
    return message(separable_box_conv_backward(
        problem, static_cast<const T*>(input), static_cast<const TBox*>(boxes),
        static_cast<const T*>(kernel), static_cast<const T*>(output_grad),
        static_cast<T*>(input_grad), static_cast<TBox*>(boxes_grad), static_cast<T*>(kernel_grad),
        static_cast<T*>(bias_grad), on_threads(threads)));
  });
}

const char* compute_table(const boxconv_problem& p, bool float32_table, const void* input,
                          void* table, Index threads) {
  return check_and_dispatch_table_types(p, float32_table, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TTable = typename decltype(types)::Table;
    return message(integral_image(integral_image_problem_of(p), static_cast<const T*>(input),
                                  static_cast<TTable*>(table), on_threads(threads)));
  });
}

}  // namespace
}  // namespace boxconv

extern "C" {

const char* boxconv_cpu_forward(const boxconv_problem* problem, const void* input,
                                const void* boxes, void* output, int32_t threads) {
  return boxconv::forward(*problem, input, boxes, output, threads);
}

const char* boxconv_cpu_backward(const boxconv_problem* problem, const void* input,
                                 const void* boxes, const void* output_grad, void* input_grad,
                                 void* boxes_grad, int32_t threads) {
  return boxconv::backward(*problem, input, boxes, output_grad, input_grad, boxes_grad, threads);
}

const char* boxconv_cpu_separable_forward(const boxconv_problem* problem, int64_t filters,
                                          const void* input, const void* boxes, const void* kernel,
                                          const void* bias, void* output, int32_t threads) {
  return boxconv::separable_forward(*problem, filters, input, boxes, kernel, bias, output, threads);
}

const char* boxconv_cpu_separable_backward(const boxconv_problem* problem, int64_t filters,
                                           const void* input, const void* boxes, const void* kernel,
                                           const void* output_grad, void* input_grad,
                                           void* boxes_grad, void* kernel_grad, void* bias_grad,
                                           int32_t threads) {
  return boxconv::separable_backward(*problem, filters, input, boxes, kernel, output_grad,
                                     input_grad, boxes_grad, kernel_grad, bias_grad, threads);
}

const char* boxconv_cpu_integral_image(const boxconv_problem* problem, int32_t float32_table,
                                       const void* input, void* table, int32_t threads) {
  return boxconv::compute_table(*problem, float32_table != 0, input, table, threads);
}

}  // extern "C"
