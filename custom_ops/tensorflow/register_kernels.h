// Registers all OpKernels for one device.
#ifndef BOXCONV_TENSORFLOW_REGISTER_KERNELS_H_
#define BOXCONV_TENSORFLOW_REGISTER_KERNELS_H_

#include "core/base/dispatch.h"
#include "tensorflow/box_conv_kernels.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/integral_image_kernel.h"
#include "tensorflow/kernel_common.h"

// Before including this file, define BOXCONV_DEVICE (CpuDevice or CudaDevice) and
// BOXCONV_DEVICE_NAME (TensorFlow's name of it).
namespace boxconv {
namespace {

#define REGISTER(NAME, OP_KERNEL, OTHER, T, TOther)                                 \
  REGISTER_KERNEL_BUILDER(Name(NAME)                                                \
                              .Device(BOXCONV_DEVICE_NAME)                          \
                              .TypeConstraint<TensorFlowType<T>::type>("T")         \
                              .TypeConstraint<TensorFlowType<TOther>::type>(OTHER), \
                          OP_KERNEL<BOXCONV_DEVICE, T, TOther>);
#define REGISTER_BOX_CONV(T, TBox)                            \
  REGISTER("BoxConv>BoxConv2D", BoxConv2DOp, "TBox", T, TBox) \
  REGISTER("BoxConv>BoxConv2DGrad", BoxConv2DGradOp, "TBox", T, TBox)
#define REGISTER_INTEGRAL_IMAGE(T, TTable) \
  REGISTER("BoxConv>IntegralImage", IntegralImageOp, "TTable", T, TTable)

BOXCONV_FOR_EACH_BOX_TYPE(REGISTER_BOX_CONV)
BOXCONV_FOR_EACH_TABLE_TYPE(REGISTER_INTEGRAL_IMAGE)

#undef REGISTER_INTEGRAL_IMAGE
#undef REGISTER_BOX_CONV
#undef REGISTER

}  // namespace
}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_REGISTER_KERNELS_H_
