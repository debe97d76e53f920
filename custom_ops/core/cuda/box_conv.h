// Box convolution, its gradient and integral images on a CUDA device.
//
// All arrays are in device memory, boxes included. The work is queued on the caller's stream, a
// cudaStream_t; no function waits for the device, allocates memory or copies to the host. The
// current device must be that of the stream. The *_workspace functions set `bytes` to the size of
// the workspace, which the caller provides, aligned to 256 bytes. Work that is queued later on the
// same stream may reuse the workspace. Repeated calls on GPUs of the same model give bit-identical
// results.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_H_
#define BOXCONV_CORE_CUDA_BOX_CONV_H_

#include <cstddef>

#include "core/base/problem.h"

namespace boxconv {
namespace cuda {

// Success, or an error message with static lifetime.
class Status {
 public:
  Status() = default;
  explicit Status(const char* error) : error_(error) {}
  bool ok() const { return error_ == nullptr; }
  const char* error() const { return ok() ? "" : error_; }

 private:
  const char* error_ = nullptr;
};

// Instantiated for the pairs (T, TBox) of BOXCONV_FOR_EACH_BOX_TYPE in core/base/dispatch.h.
template <typename T, typename TBox>
Status box_conv_forward_workspace(const BoxConvProblem& problem, std::size_t* bytes);
template <typename T, typename TBox>
Status box_conv_forward(const BoxConvProblem& problem, const T* input, const TBox* boxes, T* output,
                        void* workspace, void* stream);

template <typename T, typename TBox>
Status box_conv_backward_workspace(const BoxConvProblem& problem, std::size_t* bytes);
template <typename T, typename TBox>
Status box_conv_backward(const BoxConvProblem& problem, const T* input, const TBox* boxes,
                         const T* output_grad, T* input_grad, TBox* boxes_grad, void* workspace,
                         void* stream);

// Instantiated for the pairs (T, TTable) of BOXCONV_FOR_EACH_TABLE_TYPE in core/base/dispatch.h.
// Sums are accumulated in double. No workspace is needed.
template <typename T, typename TTable>
Status integral_image(const IntegralImageProblem& problem, const T* input, TTable* table,
                      void* stream);

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_H_
