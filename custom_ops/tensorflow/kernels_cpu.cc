// The OpKernels on the CPU.
#include "tensorflow/cpu_device.h"

#define BOXCONV_DEVICE CpuDevice
#define BOXCONV_DEVICE_HAS_SEPARABLE
#define BOXCONV_DEVICE_NAME tensorflow::DEVICE_CPU
#include "tensorflow/register_kernels.h"
