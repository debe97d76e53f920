// Registers all OpKernels for one device. Before including this file, define BOXCONV_DEVICE
// (CpuDevice or CudaDevice) and BOXCONV_DEVICE_NAME (the device's name in TensorFlow).
#ifndef BOXCONV_TENSORFLOW_REGISTER_KERNELS_H_
#define BOXCONV_TENSORFLOW_REGISTER_KERNELS_H_

#include "core/base/dispatch.h"
#include "tensorflow/box_conv_kernels.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/integral_image_kernel.h"
#include "tensorflow/kernel_common.h"

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
#define REGISTER_INTEGRAL_IMAGE(T, TTable) \
  REGISTER("BoxConv>IntegralImage", IntegralImageOp, T, "TTable", TTable)

BOXCONV_FOR_EACH_BOX_TYPE(REGISTER_BOX_CONV)
BOXCONV_FOR_EACH_TABLE_TYPE(REGISTER_INTEGRAL_IMAGE)

#undef REGISTER_INTEGRAL_IMAGE
#undef REGISTER_BOX_CONV
#undef REGISTER

}  // namespace
}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_REGISTER_KERNELS_H_
