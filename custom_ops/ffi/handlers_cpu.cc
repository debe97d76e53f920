// The handlers on the CPU. They run the CPU kernels of core/ on XLA's thread pool.
#include <atomic>

#include "core/cpu/box_conv.h"
#include "core/cpu/huge_pages.h"
#include "core/cpu/separable_box_conv.h"
#include "ffi/bindings.h"
#include "ffi/handlers.h"
#include "ffi/pool_parallel_for.h"
#include "ffi/problem.h"
#include "xla/ffi/api/ffi.h"

namespace boxconv {
namespace ffi {
namespace {

using xla::ffi::Result;
using xla::ffi::ThreadPool;

Error to_ffi(Status status) {
  if (status == Status::kOk) return Error::Success();
  return Error(xla::ffi::ErrorCode::kResourceExhausted,
               "not enough memory for the operator's temporary arrays");
}

// Rough cost of one problem in nanoseconds.
Index problem_cost(const BoxConvProblem& p, PixelCost cost) {
  return cost.nanoseconds(static_cast<double>(p.input_size()), p.boxes_per_channel);
}

// `products` is the number of matrix products: 1 for the output, 2 for the gradients.
Index problem_cost(const SeparableBoxConvProblem& p, PixelCost cost, Index products) {
  constexpr double kMultiplyAdd = 0.05;  // nanoseconds, on one core with AVX2
  const double sums = static_cast<double>(p.output_size() * p.box_conv.out_channels());
  return problem_cost(p.box_conv, cost) +
         static_cast<Index>(kMultiplyAdd * sums * static_cast<double>(products));
}

// Runs run_problem(i) for problems 0 to count - 1 in parallel. Each problem is itself computed in
// parallel, but may be too small to keep all threads busy.
template <typename RunProblem>
Error for_each_problem(Index count, Index cost, const ParallelFor& parallel_for,
                       const RunProblem& run_problem) {
  if (count == 0) return Error::Success();
  std::atomic<bool> ok{true};
  parallel_for(count, cost, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      if (run_problem(i) != Status::kOk) ok = false;
    }
  });
  return to_ffi(ok ? Status::kOk : Status::kOutOfMemory);
}

Error forward(AnyBuffer input, AnyBuffer boxes, Result<AnyBuffer> output,
              Span<const std::int64_t> strides, std::string_view normalization,
              std::string_view data_format, ThreadPool pool) {
  BoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(
      read_forward(input, boxes, *output, strides, normalization, data_format, &problems));
  advise_huge_pages(output->untyped_data(), output->size_bytes());
  const ParallelFor parallel_for = pool_parallel_for(&pool);
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    return for_each_problem(
        problems.count, problem_cost(problems.problem, kForwardCost), parallel_for, [&](Index i) {
          return box_conv_forward<T, TBox>(problems.problem, problems.input<T>(input, i),
                                           problems.boxes<TBox>(boxes, i),
                                           problems.output<T>(*output, i), parallel_for);
        });
  });
}

Error backward(AnyBuffer input, AnyBuffer boxes, AnyBuffer output_grad,
               Result<AnyBuffer> input_grad, Result<AnyBuffer> boxes_grad,
               Span<const std::int64_t> strides, std::string_view normalization,
               std::string_view data_format, ThreadPool pool) {
  BoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(read_backward(input, boxes, output_grad, *input_grad, *boxes_grad,
                                        strides, normalization, data_format, &problems));
  advise_huge_pages(input_grad->untyped_data(), input_grad->size_bytes());
  const ParallelFor parallel_for = pool_parallel_for(&pool);
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    return for_each_problem(
        problems.count, problem_cost(problems.problem, kBackwardCost), parallel_for, [&](Index i) {
          return box_conv_backward<T, TBox>(
              problems.problem, problems.input<T>(input, i), problems.boxes<TBox>(boxes, i),
              problems.output<T>(output_grad, i), problems.input<T>(*input_grad, i),
              problems.boxes<TBox>(*boxes_grad, i), parallel_for);
        });
  });
}

Error separable_forward(AnyBuffer input, AnyBuffer boxes, AnyBuffer kernel, AnyBuffer bias,
                        Result<AnyBuffer> output, Span<const std::int64_t> strides,
                        std::string_view normalization, std::string_view data_format,
                        ThreadPool pool) {
  SeparableBoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(read_separable_forward(input, boxes, kernel, bias, *output, strides,
                                                 normalization, data_format, &problems));
  advise_huge_pages(output->untyped_data(), output->size_bytes());
  const ParallelFor parallel_for = pool_parallel_for(&pool);
  const SeparableBoxConvProblem problem = problems.problem();
  const BoxConvProblems& box_conv = problems.box_conv;
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    return for_each_problem(
        box_conv.count, problem_cost(problem, kForwardCost, 1), parallel_for, [&](Index i) {
          return separable_box_conv_forward<T, TBox>(
              problem, box_conv.input<T>(input, i), box_conv.boxes<TBox>(boxes, i),
              problems.kernel<T>(kernel, i), problems.bias<T>(bias, i),
              problems.output<T>(*output, i), parallel_for);
        });
  });
}

Error separable_backward(AnyBuffer input, AnyBuffer boxes, AnyBuffer kernel, AnyBuffer output_grad,
                         Result<AnyBuffer> input_grad, Result<AnyBuffer> boxes_grad,
                         Result<AnyBuffer> kernel_grad, Result<AnyBuffer> bias_grad,
                         Span<const std::int64_t> strides, std::string_view normalization,
                         std::string_view data_format, ThreadPool pool) {
  SeparableBoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(read_separable_backward(input, boxes, kernel, output_grad, *input_grad,
                                                  *boxes_grad, *kernel_grad, *bias_grad, strides,
                                                  normalization, data_format, &problems));
  advise_huge_pages(input_grad->untyped_data(), input_grad->size_bytes());
  const ParallelFor parallel_for = pool_parallel_for(&pool);
  const SeparableBoxConvProblem problem = problems.problem();
  const BoxConvProblems& box_conv = problems.box_conv;
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    return for_each_problem(
        box_conv.count, problem_cost(problem, kBackwardCost, 2), parallel_for, [&](Index i) {
          return separable_box_conv_backward<T, TBox>(
              problem, box_conv.input<T>(input, i), box_conv.boxes<TBox>(boxes, i),
              problems.kernel<T>(kernel, i), problems.output<T>(output_grad, i),
              box_conv.input<T>(*input_grad, i), box_conv.boxes<TBox>(*boxes_grad, i),
              problems.kernel<T>(*kernel_grad, i), problems.bias<T>(*bias_grad, i), parallel_for);
        });
  });
}

Error integral_image(AnyBuffer input, Result<AnyBuffer> table, std::string_view data_format,
                     ThreadPool pool) {
  IntegralImageProblem problem;
  BOXCONV_RETURN_IF_ERROR(read_integral_image(input, *table, data_format, &problem));
  advise_huge_pages(table->untyped_data(), table->size_bytes());
  return with_table_types(input, *table, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TTable = typename decltype(types)::Table;
    return to_ffi(boxconv::integral_image(problem, static_cast<const T*>(input.untyped_data()),
                                          static_cast<TTable*>(table->untyped_data()),
                                          pool_parallel_for(&pool)));
  });
}

}  // namespace
}  // namespace ffi
}  // namespace boxconv

XLA_FFI_DEFINE_HANDLER_SYMBOL(tf_boxconv_forward_cpu, boxconv::ffi::forward,
                              boxconv::ffi::forward_binding().Ctx<xla::ffi::ThreadPool>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(tf_boxconv_backward_cpu, boxconv::ffi::backward,
                              boxconv::ffi::backward_binding().Ctx<xla::ffi::ThreadPool>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    tf_boxconv_separable_forward_cpu, boxconv::ffi::separable_forward,
    boxconv::ffi::separable_forward_binding().Ctx<xla::ffi::ThreadPool>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    tf_boxconv_separable_backward_cpu, boxconv::ffi::separable_backward,
    boxconv::ffi::separable_backward_binding().Ctx<xla::ffi::ThreadPool>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(tf_boxconv_integral_image_cpu, boxconv::ffi::integral_image,
                              boxconv::ffi::integral_image_binding().Ctx<xla::ffi::ThreadPool>());
