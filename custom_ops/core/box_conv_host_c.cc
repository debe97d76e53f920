// The C interface of the CPU's kernels.
#include "core/box_conv_c.h"
#include "core/box_conv_c_problem.h"
#include "core/host_threads.h"
#include "core/huge_pages.h"

namespace boxconv {
namespace {

const char* text(Status status) {
  return status == Status::kOk ? nullptr : "no memory for the kernel's scratch planes";
}

}  // namespace
}  // namespace boxconv

extern "C" {

const char* boxconv_host_forward(const boxconv_problem* p, const void* input, const void* boxes,
                                 void* output, int32_t threads) {
  return boxconv::with_types(p, [&](auto types) {
    const auto problem = boxconv::problem_of(*p);
    boxconv::advise_huge_pages(output, problem.output_size() * sizeof(IMAGE));
    return boxconv::text(boxconv::box_conv_forward(
        problem, static_cast<const IMAGE*>(input), static_cast<const BOX*>(boxes),
        static_cast<IMAGE*>(output), boxconv::on_threads(threads)));
  });
}

const char* boxconv_host_backward(const boxconv_problem* p, const void* input, const void* boxes,
                                  const void* output_grad, void* input_grad, void* boxes_grad,
                                  int32_t threads) {
  return boxconv::with_types(p, [&](auto types) {
    const auto problem = boxconv::problem_of(*p);
    boxconv::advise_huge_pages(input_grad, problem.input_size() * sizeof(IMAGE));
    return boxconv::text(boxconv::box_conv_backward(
        problem, static_cast<const IMAGE*>(input), static_cast<const BOX*>(boxes),
        static_cast<const IMAGE*>(output_grad), static_cast<IMAGE*>(input_grad),
        static_cast<BOX*>(boxes_grad), boxconv::on_threads(threads)));
  });
}

const char* boxconv_host_integral_image(const boxconv_problem* p, int32_t float32_table,
                                        const void* input, void* table, int32_t threads) {
  return boxconv::with_types(p, [&](auto types) {
    const auto problem = boxconv::integral_image_problem_of(*p);
    const auto* images = static_cast<const IMAGE*>(input);
    const auto parallel_for = boxconv::on_threads(threads);
    return boxconv::text(
        float32_table
            ? boxconv::integral_image(problem, images, static_cast<float*>(table), parallel_for)
            : boxconv::integral_image(problem, images, static_cast<double*>(table), parallel_for));
  });
}

}  // extern "C"
