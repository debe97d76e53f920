// What the GPU OpKernels share: TensorFlow's stream and memory in core's terms.
#ifndef BOXCONV_TENSORFLOW_GPU_KERNEL_COMMON_H_
#define BOXCONV_TENSORFLOW_GPU_KERNEL_COMMON_H_

#include "core/box_conv_cuda.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace boxconv {

inline absl::Status to_tensorflow(const CudaStatus& status) {
  if (status.ok()) return absl::OkStatus();
  return tensorflow::errors::Internal("box convolution on the GPU: ", status.error());
}

// The stream that TensorFlow queues its own kernels on.
inline void* cuda_stream(tensorflow::OpKernelContext* context) {
  return context->op_device_context()->stream()->platform_specific_handle().stream;
}

// Memory that TensorFlow takes back, for what is queued later, as soon as `tensor` dies.
inline absl::Status allocate_workspace(tensorflow::OpKernelContext* context, std::size_t bytes,
                                       tensorflow::Tensor* tensor, void** data) {
  TF_RETURN_IF_ERROR(context->allocate_temp(
      tensorflow::DT_INT8, tensorflow::TensorShape({static_cast<Index>(bytes)}), tensor));
  *data = bytes == 0 ? nullptr : tensor->flat<tensorflow::int8>().data();
  return absl::OkStatus();
}

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_GPU_KERNEL_COMMON_H_
