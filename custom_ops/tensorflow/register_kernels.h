// Registers all OpKernels for one device. Before including this file, define BOXCONV_DEVICE
// (CpuDevice or CudaDevice) and BOXCONV_DEVICE_NAME (the device's name in TensorFlow), and
// BOXCONV_DEVICE_HAS_SEPARABLE if the device has kernels for separable box convolutions.
#ifndef BOXCONV_TENSORFLOW_REGISTER_KERNELS_H_
#define BOXCONV_TENSORFLOW_REGISTER_KERNELS_H_

#include "core/base/dispatch.h"
#include "tensorflow/box_conv_kernels.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/integral_image_kernel.h"
#include "tensorflow/kernel_common.h"
#include "tensorflow/separable_box_conv_kernels.h"

namespace boxconv {
namespace {

// SECOND_TYPE is the value of the op's second type attribute, SECOND_NAME.
#define REGISTER(OP, OP_KERNEL, T, SECOND_NAME, SECOND_TYPE)                                   \
  REGISTER_KERNEL_BUILDER(Name(OP)                                                             \
                              .Device(BOXCONV_DEVICE_NAME)                                     \
                              .TypeConstraint<TensorFlowType<T>::type>("T")                    \
                              .TypeConstraint<TensorFlowType<SECOND_TYPE>::type>(SECOND_NAME), \
                          OP_KERNEL<BOXCONV_DEVICE, T, SECOND_TYPE>);
#define REGISTER_BOX_CONV(T, TBox)                            \
  REGISTER("BoxConv>BoxConv2D", BoxConv2DOp, T, "TBox", TBox) \
  REGISTER("BoxConv>BoxConv2DGrad", BoxConv2DGradOp, T, "TBox", TBox)
#define REGISTER_SEPARABLE_BOX_CONV(T, TBox)                                    \
  REGISTER("BoxConv>SeparableBoxConv2D", SeparableBoxConv2DOp, T, "TBox", TBox) \
  REGISTER("BoxConv>SeparableBoxConv2DGrad", SeparableBoxConv2DGradOp, T, "TBox", TBox)
#define REGISTER_INTEGRAL_IMAGE(T, TTable) \
  REGISTER("BoxConv>IntegralImage", IntegralImageOp, T, "TTable", TTable)

BOXCONV_FOR_EACH_BOX_TYPE(REGISTER_BOX_CONV)
#ifdef BOXCONV_DEVICE_HAS_SEPARABLE
BOXCONV_FOR_EACH_BOX_TYPE(REGISTER_SEPARABLE_BOX_CONV)
#endif
BOXCONV_FOR_EACH_TABLE_TYPE(REGISTER_INTEGRAL_IMAGE)

#undef REGISTER_INTEGRAL_IMAGE
#undef REGISTER_SEPARABLE_BOX_CONV
#undef REGISTER_BOX_CONV
#undef REGISTER

}  // namespace
}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_REGISTER_KERNELS_H_
