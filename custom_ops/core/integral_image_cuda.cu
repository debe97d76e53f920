// Integral images on a CUDA device.
#include "core/box_conv_cuda.h"
#include "core/cuda_device.cuh"
#include "core/integral_image.cuh"

namespace boxconv {

namespace {

template <typename T, typename TTable>
using Launcher = BOXCONV_ISA::IntegralImageLauncher<T, TTable, CudaDevice>;

// Ok, or why the problem is not for this kernel; a table has a row and a column more.
CudaStatus check(const IntegralImageProblem& p) {
  const bool fits = BOXCONV_ISA::planes_fit(p.height + 1, p.width + 1, p.channels);
  return fits ? CudaStatus() : CudaStatus(BOXCONV_ISA::kPlanesTooLarge);
}

}  // namespace

template <typename T, typename TTable>
CudaStatus integral_image_cuda_workspace(const IntegralImageProblem& problem, std::size_t* bytes) {
  if (const CudaStatus status = check(problem); !status.ok()) return status;
  const CudaDevice device;
  if (!device.ok()) return device.status();
  *bytes = Launcher<T, TTable>(problem, device.limits()).workspace_size();
  return CudaStatus();
}

template <typename T, typename TTable>
CudaStatus integral_image_cuda(const IntegralImageProblem& problem, const T* input, TTable* table,
                               void* workspace, void* stream) {
  if (const CudaStatus status = check(problem); !status.ok()) return status;
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
