// Box convolution on a CUDA device, for one element type. This file is compiled once per type, with
// BOXCONV_CUDA_TYPE and BOXCONV_CUDA_BOX_TYPE set, so that the types compile in parallel.
#include "core/cuda/box_conv.h"
#include "core/cuda/box_conv_launch.cuh"

namespace boxconv {
namespace cuda {

namespace {

// Calls run(device) with the current device.
template <typename Run>
Status on_device(const BoxConvProblem& p, void* stream, const Run& run) {
  if (!planes_fit(p.height, p.width, p.out_channels())) return Status(kPlanesTooLarge);
  Device device(stream);
  if (device.ok()) run(device);
  return device.status();
}

}  // namespace

template <typename T, typename TBox>
Status box_conv_forward_workspace(const BoxConvProblem& problem, std::size_t* bytes) {
  return on_device(problem, nullptr, [&](Device& device) {
    *bytes = BoxConvLauncher<T, TBox>(device, problem, /*backward=*/false).workspace_size();
  });
}

template <typename T, typename TBox>
Status box_conv_backward_workspace(const BoxConvProblem& problem, std::size_t* bytes) {
  return on_device(problem, nullptr, [&](Device& device) {
    *bytes = BoxConvLauncher<T, TBox>(device, problem, /*backward=*/true).workspace_size();
  });
}

template <typename T, typename TBox>
Status box_conv_forward(const BoxConvProblem& problem, const T* input, const TBox* boxes, T* output,
                        void* workspace, void* stream) {
  return on_device(problem, stream, [&](Device& device) {
    BoxConvLauncher<T, TBox>(device, problem, /*backward=*/false, workspace)
        .forward(input, boxes, output);
  });
}

template <typename T, typename TBox>
Status box_conv_backward(const BoxConvProblem& problem, const T* input, const TBox* boxes,
                         const T* output_grad, T* input_grad, TBox* boxes_grad, void* workspace,
                         void* stream) {
  return on_device(problem, stream, [&](Device& device) {
    BoxConvLauncher<T, TBox>(device, problem, /*backward=*/true, workspace)
        .backward(input, boxes, output_grad, input_grad, boxes_grad);
  });
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
