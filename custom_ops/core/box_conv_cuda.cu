// Box convolution on a CUDA device, one type of images: CMake compiles this file once for each,
// with BOXCONV_CUDA_TYPE set, so that several compile at a time.
#include "core/box_conv_cuda.h"
#include "core/box_conv_launch.cuh"
#include "core/cuda_device.cuh"

namespace boxconv {

namespace {

template <typename T, typename TBox>
using Launcher = BOXCONV_ISA::BoxConvLauncher<T, TBox, CudaDevice>;

// Ok, or why the problem is not for these kernels.
CudaStatus check(const BoxConvProblem& p) {
  const bool fits = BOXCONV_ISA::planes_fit(p.height, p.width, p.out_channels());
  return fits ? CudaStatus() : CudaStatus(BOXCONV_ISA::kPlanesTooLarge);
}

template <typename T, typename TBox>
CudaStatus workspace_size(const BoxConvProblem& problem, bool backward, std::size_t* bytes) {
  if (const CudaStatus status = check(problem); !status.ok()) return status;
  const CudaDevice device;
  if (!device.ok()) return device.status();
  *bytes = Launcher<T, TBox>(problem, device.limits(), backward).workspace_size();
  return CudaStatus();
}

}  // namespace

template <typename T, typename TBox>
CudaStatus box_conv_forward_cuda_workspace(const BoxConvProblem& problem, std::size_t* bytes) {
  return workspace_size<T, TBox>(problem, /*backward=*/false, bytes);
}

template <typename T, typename TBox>
CudaStatus box_conv_backward_cuda_workspace(const BoxConvProblem& problem, std::size_t* bytes) {
  return workspace_size<T, TBox>(problem, /*backward=*/true, bytes);
}

template <typename T, typename TBox>
CudaStatus box_conv_forward_cuda(const BoxConvProblem& problem, const T* input, const TBox* boxes,
                                 T* output, void* workspace, void* stream) {
  if (const CudaStatus status = check(problem); !status.ok()) return status;
  CudaDevice device(stream);
  if (!device.ok()) return device.status();
  Launcher<T, TBox>(problem, device.limits(), /*backward=*/false, workspace)
      .forward(device, input, boxes, output);
  return device.status();
}

template <typename T, typename TBox>
CudaStatus box_conv_backward_cuda(const BoxConvProblem& problem, const T* input, const TBox* boxes,
                                  const T* output_grad, T* input_grad, TBox* boxes_grad,
                                  void* workspace, void* stream) {
  if (const CudaStatus status = check(problem); !status.ok()) return status;
  CudaDevice device(stream);
  if (!device.ok()) return device.status();
  Launcher<T, TBox>(problem, device.limits(), /*backward=*/true, workspace)
      .backward(device, input, boxes, output_grad, input_grad, boxes_grad);
  return device.status();
}

#define INSTANTIATE(T, TBox)                                                                       \
  template CudaStatus box_conv_forward_cuda_workspace<T, TBox>(const BoxConvProblem&,              \
                                                               std::size_t*);                      \
  template CudaStatus box_conv_backward_cuda_workspace<T, TBox>(const BoxConvProblem&,             \
                                                                std::size_t*);                     \
  template CudaStatus box_conv_forward_cuda<T, TBox>(const BoxConvProblem&, const T*, const TBox*, \
                                                     T*, void*, void*);                            \
  template CudaStatus box_conv_backward_cuda<T, TBox>(                                             \
      const BoxConvProblem&, const T*, const TBox*, const T*, T*, TBox*, void*, void*);
INSTANTIATE(BOXCONV_CUDA_TYPE, BOXCONV_CUDA_BOX_TYPE)
#undef INSTANTIATE

}  // namespace boxconv
