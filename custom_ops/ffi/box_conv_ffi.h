// The handlers by name: what TensorFlow's XLA, and JAX through jax.ffi.pycapsule, register.
#ifndef BOXCONV_FFI_BOX_CONV_FFI_H_
#define BOXCONV_FFI_BOX_CONV_FFI_H_

#include "xla/ffi/api/c_api.h"

// Arguments (input, boxes) and result (output); arguments (input, boxes, output_grad) and results
// (input_grad, boxes_grad); argument (input) and result (table). Attributes are strides (two 64-bit
// integers), normalization ("none", "area" or "valid") and data_format ("NHWC" or "NCHW"), of
// integral images the last one alone. Every array may have further axes in front, the same of all:
// so many problems are computed, each with boxes of its own.
#define BOXCONV_DECLARE_HANDLER(name)                                                 \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* tf_boxconv_##name( \
      XLA_FFI_CallFrame* call_frame)

BOXCONV_DECLARE_HANDLER(forward_host);
BOXCONV_DECLARE_HANDLER(backward_host);
BOXCONV_DECLARE_HANDLER(integral_image_host);
// Only in builds with CUDA.
BOXCONV_DECLARE_HANDLER(forward_cuda);
BOXCONV_DECLARE_HANDLER(backward_cuda);
BOXCONV_DECLARE_HANDLER(integral_image_cuda);

#endif  // BOXCONV_FFI_BOX_CONV_FFI_H_
