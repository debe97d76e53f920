// Runs core's CUDA kernels on TensorFlow's stream. All arrays, boxes included, are in device
// memory.
#ifndef BOXCONV_TENSORFLOW_CUDA_DEVICE_H_
#define BOXCONV_TENSORFLOW_CUDA_DEVICE_H_

#include <cstddef>

#include "core/cuda/box_conv.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace boxconv {

// Passed as the template parameter Device to the OpKernel class templates, such as BoxConv2DOp. The
// alternative is CpuDevice, which has the same functions.
class CudaDevice {
 public:
  template <typename T, typename TBox>
  static absl::Status forward(tensorflow::OpKernelContext* context, const BoxConvProblem& problem,
                              const T* input, const TBox* boxes, T* output) {
    if (problem.output_size() == 0) return absl::OkStatus();
    std::size_t bytes = 0;
    TF_RETURN_IF_ERROR(to_tensorflow(cuda::box_conv_forward_workspace<T, TBox>(problem, &bytes)));
    Workspace workspace;
    TF_RETURN_IF_ERROR(workspace.allocate(context, bytes));
    return to_tensorflow(cuda::box_conv_forward(problem, input, boxes, output, workspace.data(),
                                                stream_of(context)));
  }

  template <typename T, typename TBox>
  static absl::Status backward(tensorflow::OpKernelContext* context, const BoxConvProblem& problem,
                               const T* input, const TBox* boxes, const T* output_grad,
                               T* input_grad, TBox* boxes_grad) {
    std::size_t bytes = 0;
    TF_RETURN_IF_ERROR(to_tensorflow(cuda::box_conv_backward_workspace<T, TBox>(problem, &bytes)));
    Workspace workspace;
    TF_RETURN_IF_ERROR(workspace.allocate(context, bytes));
    return to_tensorflow(cuda::box_conv_backward(problem, input, boxes, output_grad, input_grad,
                                                 boxes_grad, workspace.data(), stream_of(context)));
  }

  template <typename T, typename TTable>
  static absl::Status integral_image(tensorflow::OpKernelContext* context,
                                     const IntegralImageProblem& problem, const T* input,
                                     TTable* table) {
    return to_tensorflow(cuda::integral_image(problem, input, table, stream_of(context)));
  }

 private:
  // Temporary device memory. The kernels may still be running when it is destroyed, but TensorFlow
  // reuses the memory only for work that is queued later.
  class Workspace {
   public:
    absl::Status allocate(tensorflow::OpKernelContext* context, std::size_t bytes) {
      return context->allocate_temp(tensorflow::DT_INT8,
                                    tensorflow::TensorShape({static_cast<Index>(bytes)}), &tensor_);
    }
    void* data() {
      return tensor_.NumElements() == 0 ? nullptr : tensor_.flat<tensorflow::int8>().data();
    }

   private:
    tensorflow::Tensor tensor_;
  };

  static absl::Status to_tensorflow(const cuda::Status& status) {
    if (status.ok()) return absl::OkStatus();
    return tensorflow::errors::Internal("box convolution on the GPU: ", status.error());
  }

  // The cudaStream_t on which TensorFlow queues its own kernels.
  static void* stream_of(tensorflow::OpKernelContext* context) {
    return context->op_device_context()->stream()->platform_specific_handle().stream;
  }
};

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_CUDA_DEVICE_H_
