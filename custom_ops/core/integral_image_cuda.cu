// Integral images on a CUDA device.
#include "core/box_conv_cuda.h"
#include "core/cuda_device.cuh"
#include "core/integral_image.cuh"

namespace boxconv {

namespace {

template <typename T, typename TTable>
using Launcher = BOXCONV_ISA::IntegralImageLauncher<T, TTable, CudaDevice>;

bool too_long(const IntegralImageProblem& p) {
  return p.height > BOXCONV_ISA::kLongestAxis || p.width > BOXCONV_ISA::kLongestAxis;
}

constexpr char kTooLong[] = "planes of more than 2^29 rows or columns";

}  // namespace

template <typename T, typename TTable>
CudaStatus integral_image_cuda_workspace(const IntegralImageProblem& problem, std::size_t* bytes) {
  if (too_long(problem)) return CudaStatus(kTooLong);
  const CudaDevice device;
  if (!device.ok()) return device.status();
  *bytes = Launcher<T, TTable>(problem, device.limits()).workspace_size();
  return CudaStatus();
}

template <typename T, typename TTable>
CudaStatus integral_image_cuda(const IntegralImageProblem& problem, const T* input, TTable* table,
                               void* workspace, void* stream) {
  if (too_long(problem)) return CudaStatus(kTooLong);
  CudaDevice device(stream);
  if (!device.ok()) return device.status();
  Launcher<T, TTable>(problem, device.limits(), workspace).run(device, input, table);
  return device.status();
}

#define INSTANTIATE(T, TTable)                                                              \
  template CudaStatus integral_image_cuda_workspace<T, TTable>(const IntegralImageProblem&, \
                                                               std::size_t*);               \
  template CudaStatus integral_image_cuda<T, TTable>(const IntegralImageProblem&, const T*, \
                                                     TTable*, void*, void*);
INSTANTIATE(Half, float)
INSTANTIATE(Half, double)
INSTANTIATE(BFloat16, float)
INSTANTIATE(BFloat16, double)
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace boxconv
