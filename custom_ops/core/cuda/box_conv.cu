// Box convolution on a CUDA device, for one element type. This file is compiled once per type, with
// BOXCONV_CUDA_TYPE and BOXCONV_CUDA_BOX_TYPE set, so that the types compile in parallel.
#include "core/cuda/box_conv.h"
#include "core/cuda/box_conv_launch.cuh"
#include "core/cuda/device.cuh"

namespace boxconv {
namespace cuda {

namespace {

template <typename T, typename TBox>
using Launcher = BoxConvLauncher<T, TBox, Device>;

// Returns an error unless 32-bit positions are enough for the planes.
Status check(const BoxConvProblem& p) {
  const bool fits = planes_fit(p.height, p.width, p.out_channels());
  return fits ? Status() : Status(kPlanesTooLarge);
}

template <typename T, typename TBox>
Status workspace_size(const BoxConvProblem& problem, bool backward, std::size_t* bytes) {
  if (const Status status = check(problem); !status.ok()) return status;
  const Device device;
  if (!device.ok()) return device.status();
  *bytes = Launcher<T, TBox>(problem, device.limits(), backward).workspace_size();
  return Status();
}

}  // namespace

template <typename T, typename TBox>
Status box_conv_forward_workspace(const BoxConvProblem& problem, std::size_t* bytes) {
  return workspace_size<T, TBox>(problem, /*backward=*/false, bytes);
}

template <typename T, typename TBox>
Status box_conv_backward_workspace(const BoxConvProblem& problem, std::size_t* bytes) {
  return workspace_size<T, TBox>(problem, /*backward=*/true, bytes);
}

template <typename T, typename TBox>
Status box_conv_forward(const BoxConvProblem& problem, const T* input, const TBox* boxes, T* output,
                        void* workspace, void* stream) {
  if (const Status status = check(problem); !status.ok()) return status;
  Device device(stream);
  if (!device.ok()) return device.status();
  Launcher<T, TBox>(problem, device.limits(), /*backward=*/false, workspace)
      .forward(device, input, boxes, output);
  return device.status();
}

template <typename T, typename TBox>
Status box_conv_backward(const BoxConvProblem& problem, const T* input, const TBox* boxes,
                         const T* output_grad, T* input_grad, TBox* boxes_grad, void* workspace,
                         void* stream) {
  if (const Status status = check(problem); !status.ok()) return status;
  Device device(stream);
  if (!device.ok()) return device.status();
  Launcher<T, TBox>(problem, device.limits(), /*backward=*/true, workspace)
      .backward(device, input, boxes, output_grad, input_grad, boxes_grad);
  return device.status();
}

#define INSTANTIATE(T, TBox)                                                                  \
  template Status box_conv_forward_workspace<T, TBox>(const BoxConvProblem&, std::size_t*);   \
  template Status box_conv_backward_workspace<T, TBox>(const BoxConvProblem&, std::size_t*);  \
  template Status box_conv_forward<T, TBox>(const BoxConvProblem&, const T*, const TBox*, T*, \
                                            void*, void*);                                    \
  template Status box_conv_backward<T, TBox>(const BoxConvProblem&, const T*, const TBox*,    \
                                             const T*, T*, TBox*, void*, void*);
INSTANTIATE(BOXCONV_CUDA_TYPE, BOXCONV_CUDA_BOX_TYPE)
#undef INSTANTIATE

}  // namespace cuda
}  // namespace boxconv
