// The handlers on the CPU. They run the CPU kernels of core/ on XLA's thread pool.
#include <atomic>

#include "core/cpu/box_conv.h"
#include "core/cpu/huge_pages.h"
#include "core/cpu/separable_box_conv.h"
#include "ffi/call_frame.h"
#include "ffi/handlers.h"
#include "ffi/pool_parallel_for.h"
#include "ffi/problem.h"

namespace boxconv {
namespace ffi {
namespace {

Error to_ffi(Status status) {
  if (status == Status::kOk) return Error::success();
  return Error::out_of_memory("not enough memory for the operator's temporary arrays");
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
  if (count == 0) return Error::success();
  std::atomic<bool> ok{true};
  parallel_for(count, cost, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      if (run_problem(i) != Status::kOk) ok = false;
    }
  });
  return to_ffi(ok ? Status::kOk : Status::kOutOfMemory);
}

Error forward(const CallFrame& frame) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1);
  const Buffer output = frame.result(0);
  BoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(read_forward(frame, &problems));
  advise_huge_pages(output.data(), output.bytes());
  ThreadPool pool(frame);
  const ParallelFor parallel_for = pool_parallel_for(&pool);
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    return for_each_problem(
        problems.count, problem_cost(problems.problem, kForwardCost), parallel_for, [&](Index i) {
          return box_conv_forward<T, TBox>(problems.problem, problems.input<T>(input, i),
                                           problems.boxes<TBox>(boxes, i),
                                           problems.output<T>(output, i), parallel_for);
        });
  });
}

Error backward(const CallFrame& frame) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1),
               output_grad = frame.argument(2);
  const Buffer input_grad = frame.result(0), boxes_grad = frame.result(1);
  BoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(read_backward(frame, &problems));
  advise_huge_pages(input_grad.data(), input_grad.bytes());
  ThreadPool pool(frame);
  const ParallelFor parallel_for = pool_parallel_for(&pool);
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    return for_each_problem(
        problems.count, problem_cost(problems.problem, kBackwardCost), parallel_for, [&](Index i) {
          return box_conv_backward<T, TBox>(
              problems.problem, problems.input<T>(input, i), problems.boxes<TBox>(boxes, i),
              problems.output<T>(output_grad, i), problems.input<T>(input_grad, i),
              problems.boxes<TBox>(boxes_grad, i), parallel_for);
        });
  });
}

Error separable_forward(const CallFrame& frame) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1), kernel = frame.argument(2),
               bias = frame.argument(3);
  const Buffer output = frame.result(0);
  SeparableBoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(read_separable_forward(frame, &problems));
  advise_huge_pages(output.data(), output.bytes());
  ThreadPool pool(frame);
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
              problems.output<T>(output, i), parallel_for);
        });
  });
}

Error separable_backward(const CallFrame& frame) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1), kernel = frame.argument(2),
               output_grad = frame.argument(3);
  const Buffer input_grad = frame.result(0), boxes_grad = frame.result(1),
               kernel_grad = frame.result(2), bias_grad = frame.result(3);
  SeparableBoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(read_separable_backward(frame, &problems));
  advise_huge_pages(input_grad.data(), input_grad.bytes());
  ThreadPool pool(frame);
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
              box_conv.input<T>(input_grad, i), box_conv.boxes<TBox>(boxes_grad, i),
              problems.kernel<T>(kernel_grad, i), problems.bias<T>(bias_grad, i), parallel_for);
        });
  });
}

Error integral_image(const CallFrame& frame) {
  const Buffer input = frame.argument(0);
  const Buffer table = frame.result(0);
  IntegralImageProblem problem;
  BOXCONV_RETURN_IF_ERROR(read_integral_image(frame, &problem));
  advise_huge_pages(table.data(), table.bytes());
  ThreadPool pool(frame);
  return with_table_types(input, table, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TTable = typename decltype(types)::Table;
    return to_ffi(boxconv::integral_image(problem, static_cast<const T*>(input.data()),
                                          static_cast<TTable*>(table.data()),
                                          pool_parallel_for(&pool)));
  });
}

}  // namespace
}  // namespace ffi
}  // namespace boxconv

XLA_FFI_Error* tf_boxconv_forward_cpu(XLA_FFI_CallFrame* frame) {
  return boxconv::ffi::run_handler(frame, 2, 1, boxconv::ffi::forward);
}

XLA_FFI_Error* tf_boxconv_backward_cpu(XLA_FFI_CallFrame* frame) {
  return boxconv::ffi::run_handler(frame, 3, 2, boxconv::ffi::backward);
}

XLA_FFI_Error* tf_boxconv_separable_forward_cpu(XLA_FFI_CallFrame* frame) {
  return boxconv::ffi::run_handler(frame, 4, 1, boxconv::ffi::separable_forward);
}

XLA_FFI_Error* tf_boxconv_separable_backward_cpu(XLA_FFI_CallFrame* frame) {
  return boxconv::ffi::run_handler(frame, 4, 4, boxconv::ffi::separable_backward);
}

XLA_FFI_Error* tf_boxconv_integral_image_cpu(XLA_FFI_CallFrame* frame) {
  return boxconv::ffi::run_handler(frame, 1, 1, boxconv::ffi::integral_image);
}
