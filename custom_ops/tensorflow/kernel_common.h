// What the OpKernels share: TensorFlow's types, threads and attributes in core's terms.
#ifndef BOXCONV_TENSORFLOW_KERNEL_COMMON_H_
#define BOXCONV_TENSORFLOW_KERNEL_COMMON_H_

#include <string>

#include "core/box_conv.h"
#include "core/huge_pages.h"
#include "core/unit_blocks.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace boxconv {

// Core's name for TensorFlow's element type; they are the same bits.
template <typename T>
struct CoreType {
  using type = T;
};
template <>
struct CoreType<Eigen::half> {
  using type = Half;
};
template <>
struct CoreType<Eigen::bfloat16> {
  using type = BFloat16;
};

template <typename T>
const typename CoreType<T>::type* core_data(const tensorflow::Tensor& tensor) {
  return reinterpret_cast<const typename CoreType<T>::type*>(tensor.flat<T>().data());
}

template <typename T>
typename CoreType<T>::type* core_data(tensorflow::Tensor* tensor) {
  return reinterpret_cast<typename CoreType<T>::type*>(tensor->flat<T>().data());
}

// For a tensor that is about to be written.
inline void advise_huge_pages(const tensorflow::Tensor& tensor) {
  advise_huge_pages(tensor.tensor_data().data(), tensor.TotalBytes());
}

// Spreads core's units over the threads that TensorFlow gives its own kernels.
inline ParallelFor parallel_for(tensorflow::OpKernelContext* context) {
  auto* workers = context->device()->tensorflow_cpu_worker_threads()->workers;
  return [workers](Index total, Index cost, const std::function<void(Index, Index)>& body) {
    const Index block = units_per_block(total, cost, workers->NumThreads());
    workers->ParallelFor(total, tensorflow::thread::ThreadPool::SchedulingParams::Fixed(block),
                         body);
  };
}

inline absl::Status to_tensorflow(Status status) {
  if (status == Status::kOk) return absl::OkStatus();
  return tensorflow::errors::ResourceExhausted("no memory for the kernel's scratch planes");
}

inline absl::Status read_layout(tensorflow::OpKernelConstruction* context, Layout* layout) {
  std::string data_format;
  TF_RETURN_IF_ERROR(context->GetAttr("data_format", &data_format));
  *layout = data_format == "NCHW" ? Layout::kChannelsFirst : Layout::kChannelsLast;
  return absl::OkStatus();
}

struct ImageDims {
  Index batch = 0, height = 0, width = 0, channels = 0;
};

inline absl::Status read_image_dims(const tensorflow::TensorShape& input, Layout layout,
                                    ImageDims* dims) {
  if (input.dims() != 4) {
    return tensorflow::errors::InvalidArgument("`input` must have rank 4, got shape ",
                                               input.DebugString());
  }
  const bool first = layout == Layout::kChannelsFirst;
  *dims = {input.dim_size(0), input.dim_size(first ? 2 : 1), input.dim_size(first ? 3 : 2),
           input.dim_size(first ? 1 : 3)};
  return absl::OkStatus();
}

inline tensorflow::TensorShape image_shape(Layout layout, const ImageDims& d) {
  return layout == Layout::kChannelsFirst
             ? tensorflow::TensorShape({d.batch, d.channels, d.height, d.width})
             : tensorflow::TensorShape({d.batch, d.height, d.width, d.channels});
}

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_KERNEL_COMMON_H_
