// The OpKernels on GPUs.
#include "tensorflow/cuda_device.h"

#define BOXCONV_DEVICE CudaDevice
#define BOXCONV_DEVICE_NAME tensorflow::DEVICE_GPU
#include "tensorflow/register_kernels.h"
