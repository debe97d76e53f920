// Box convolution, its gradient and integral images on a CUDA device: the interface of core there.
//
// All pointers are to device memory, boxes too. Everything is queued on the caller's stream, a
// cudaStream_t, and nothing waits, allocates or copies to the host. The caller brings a workspace
// of the size that is asked for, aligned to 256 bytes; it may be used again by what is queued on
// the same stream later. The device that is current must be the stream's. Results are the same bits
// each time on one kind of device.
#ifndef BOXCONV_CORE_BOX_CONV_CUDA_H_
#define BOXCONV_CORE_BOX_CONV_CUDA_H_

#include <cstddef>

#include "core/box_conv.h"

namespace boxconv {

// Nothing, or what went wrong: a text that lives for ever.
class CudaStatus {
 public:
  CudaStatus() = default;
  explicit CudaStatus(const char* error) : error_(error) {}
  bool ok() const { return error_ == nullptr; }
  const char* error() const { return ok() ? "" : error_; }

 private:
  const char* error_ = nullptr;
};

// T is Half, BFloat16, float or double; TBox is float, and double for double.
template <typename T, typename TBox>
CudaStatus box_conv_forward_cuda_workspace(const BoxConvProblem& problem, std::size_t* bytes);
template <typename T, typename TBox>
CudaStatus box_conv_forward_cuda(const BoxConvProblem& problem, const T* input, const TBox* boxes,
                                 T* output, void* workspace, void* stream);

template <typename T, typename TBox>
CudaStatus box_conv_backward_cuda_workspace(const BoxConvProblem& problem, std::size_t* bytes);
template <typename T, typename TBox>
CudaStatus box_conv_backward_cuda(const BoxConvProblem& problem, const T* input, const TBox* boxes,
                                  const T* output_grad, T* input_grad, TBox* boxes_grad,
                                  void* workspace, void* stream);

// TTable is float or double; sums are kept in double.
template <typename T, typename TTable>
CudaStatus integral_image_cuda_workspace(const IntegralImageProblem& problem, std::size_t* bytes);
template <typename T, typename TTable>
CudaStatus integral_image_cuda(const IntegralImageProblem& problem, const T* input, TTable* table,
                               void* workspace, void* stream);

}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_CUDA_H_
