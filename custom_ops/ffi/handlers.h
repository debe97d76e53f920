// Declares the handlers that XLA calls. TensorFlow's XLA registers them directly; JAX registers
// them through jax.ffi.pycapsule.
#ifndef BOXCONV_FFI_HANDLERS_H_
#define BOXCONV_FFI_HANDLERS_H_

#include "xla/ffi/api/c_api.h"

// forward:             (input, boxes) -> (output)
// backward:            (input, boxes, output_grad) -> (input_grad, boxes_grad)
// separable_forward:   (input, boxes, kernel, bias) -> (output)
// separable_backward:  (input, boxes, kernel, output_grad)
//                      -> (input_grad, boxes_grad, kernel_grad, bias_grad)
// integral_image:      (input) -> (table)
//
// Attributes: strides (two 64-bit integers), normalization ("none", "area" or "valid") and
// data_format ("NHWC" or "NCHW"); integral images have data_format only.
//
// All arrays may have the same additional leading axes. Each index of these axes is a problem with
// its own boxes, kernel and bias.
#define BOXCONV_DECLARE_HANDLER(name)                                                 \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* tf_boxconv_##name( \
      XLA_FFI_CallFrame* call_frame)

BOXCONV_DECLARE_HANDLER(forward_cpu);
BOXCONV_DECLARE_HANDLER(backward_cpu);
BOXCONV_DECLARE_HANDLER(integral_image_cpu);
// Only for the CPU. On other devices, the callers compose them of a box convolution and a product.
BOXCONV_DECLARE_HANDLER(separable_forward_cpu);
BOXCONV_DECLARE_HANDLER(separable_backward_cpu);
// Only in builds with CUDA.
BOXCONV_DECLARE_HANDLER(forward_cuda);
BOXCONV_DECLARE_HANDLER(backward_cuda);
BOXCONV_DECLARE_HANDLER(integral_image_cuda);

#endif  // BOXCONV_FFI_HANDLERS_H_
