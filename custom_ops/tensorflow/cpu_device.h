// Runs core's CPU kernels on TensorFlow's threads.
#ifndef BOXCONV_TENSORFLOW_CPU_DEVICE_H_
#define BOXCONV_TENSORFLOW_CPU_DEVICE_H_

#include <functional>

#include "core/cpu/box_conv.h"
#include "core/cpu/huge_pages.h"
#include "core/cpu/separable_box_conv.h"
#include "core/cpu/thread_share.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace boxconv {

// Passed as the template parameter Device to the OpKernel class templates, such as BoxConv2DOp. The
// alternative is CudaDevice, which has the same functions except `separable_*`.
class CpuDevice {
 public:
  template <typename T, typename TBox>
  static absl::Status forward(tensorflow::OpKernelContext* context, const BoxConvProblem& problem,
                              const T* input, const TBox* boxes, T* output) {
    advise_huge_pages(output, problem.output_size() * sizeof(T));
    return to_tensorflow(box_conv_forward(problem, input, boxes, output, parallel_for(context)));
  }

  template <typename T, typename TBox>
  static absl::Status backward(tensorflow::OpKernelContext* context, const BoxConvProblem& problem,
                               const T* input, const TBox* boxes, const T* output_grad,
                               T* input_grad, TBox* boxes_grad) {
    advise_huge_pages(input_grad, problem.input_size() * sizeof(T));
    return to_tensorflow(box_conv_backward(problem, input, boxes, output_grad, input_grad,
                                           boxes_grad, parallel_for(context)));
  }

  template <typename T, typename TBox>
  static absl::Status separable_forward(tensorflow::OpKernelContext* context,
                                        const SeparableBoxConvProblem& problem, const T* input,
                                        const TBox* boxes, const T* kernel, const T* bias,
                                        T* output) {
    advise_huge_pages(output, problem.output_size() * sizeof(T));
    return to_tensorflow(separable_box_conv_forward(problem, input, boxes, kernel, bias, output,
                                                    parallel_for(context)));
  }

  template <typename T, typename TBox>
  static absl::Status separable_backward(tensorflow::OpKernelContext* context,
                                         const SeparableBoxConvProblem& problem, const T* input,
                                         const TBox* boxes, const T* kernel, const T* output_grad,
                                         T* input_grad, TBox* boxes_grad, T* kernel_grad,
                                         T* bias_grad) {
    advise_huge_pages(input_grad, problem.box_conv.input_size() * sizeof(T));
    return to_tensorflow(separable_box_conv_backward(problem, input, boxes, kernel, output_grad,
                                                     input_grad, boxes_grad, kernel_grad, bias_grad,
                                                     parallel_for(context)));
  }

  template <typename T, typename TTable>
  static absl::Status integral_image(tensorflow::OpKernelContext* context,
                                     const IntegralImageProblem& problem, const T* input,
                                     TTable* table) {
    const Index entries =
        problem.batch * (problem.height + 1) * (problem.width + 1) * problem.channels;
    advise_huge_pages(table, entries * sizeof(TTable));
    return to_tensorflow(boxconv::integral_image(problem, input, table, parallel_for(context)));
  }

 private:
  static absl::Status to_tensorflow(Status status) {
    if (status == Status::kOk) return absl::OkStatus();
    return tensorflow::errors::ResourceExhausted(
        "not enough memory for the operator's temporary arrays");
  }

  static ParallelFor parallel_for(tensorflow::OpKernelContext* context) {
    auto* workers = context->device()->tensorflow_cpu_worker_threads()->workers;
    return [workers](Index total, Index cost, const std::function<void(Index, Index)>& body) {
      const Index share = tiles_per_thread(total, cost, workers->NumThreads());
      workers->ParallelFor(total, fixed_block_size<Scheduling>(share, 0), body);
    };
  }

  using Scheduling = tensorflow::thread::ThreadPool::SchedulingParams;

  // Returns Params::Fixed(size), or its equivalent before TensorFlow 2.20, which has no Fixed().
  template <typename Params>
  static auto fixed_block_size(Index size, int) -> decltype(Params::Fixed(size)) {
    return Params::Fixed(size);
  }
  template <typename Params>
  static Params fixed_block_size(Index size, long) {
    return Params(tensorflow::thread::ThreadPool::SchedulingStrategy::kFixedBlockSize, {}, size);
  }
};

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_CPU_DEVICE_H_
