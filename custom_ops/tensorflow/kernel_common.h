// Converts TensorFlow's types, shapes and attributes to core's.
#ifndef BOXCONV_TENSORFLOW_KERNEL_COMMON_H_
#define BOXCONV_TENSORFLOW_KERNEL_COMMON_H_

#include <string>

#include "core/base/dispatch.h"
#include "core/base/half.h"
#include "core/base/problem.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace boxconv {

// The TensorFlow type that corresponds to core's element type T. Both have the same bits.
template <typename T>
struct TensorFlowType {
  using type = T;
};
template <>
struct TensorFlowType<Half> {
  using type = Eigen::half;
};
template <>
struct TensorFlowType<BFloat16> {
  using type = Eigen::bfloat16;
};

template <typename T>
const T* data_of(const tensorflow::Tensor& tensor) {
  using TTensor = typename TensorFlowType<T>::type;
  return reinterpret_cast<const T*>(tensor.flat<TTensor>().data());
}

template <typename T>
T* data_of(tensorflow::Tensor* tensor) {
  using TTensor = typename TensorFlowType<T>::type;
  return reinterpret_cast<T*>(tensor->flat<TTensor>().data());
}

inline absl::Status read_layout(tensorflow::OpKernelConstruction* context, Layout* layout) {
  std::string data_format;
  TF_RETURN_IF_ERROR(context->GetAttr("data_format", &data_format));
  if (!parse_layout(data_format, layout)) {
    return tensorflow::errors::InvalidArgument("`data_format` must be NHWC or NCHW, got ",
                                               data_format);
  }
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
  const bool channels_first = layout == Layout::kChannelsFirst;
  *dims = {input.dim_size(0), input.dim_size(channels_first ? 2 : 1),
           input.dim_size(channels_first ? 3 : 2), input.dim_size(channels_first ? 1 : 3)};
  return absl::OkStatus();
}

inline tensorflow::TensorShape image_shape(Layout layout, const ImageDims& d) {
  return layout == Layout::kChannelsFirst
             ? tensorflow::TensorShape({d.batch, d.channels, d.height, d.width})
             : tensorflow::TensorShape({d.batch, d.height, d.width, d.channels});
}

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_KERNEL_COMMON_H_
