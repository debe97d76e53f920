/* C interface of the kernels, for programs without a framework. core/base/problem.h describes the
 * shapes of the arrays.
 *
 * Every function returns NULL on success, or an error message that must not be freed. */
#ifndef BOXCONV_CORE_C_API_BOXCONV_H_
#define BOXCONV_CORE_C_API_BOXCONV_H_

#include <stddef.h>
#include <stdint.h>

#define BOXCONV_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum { BOXCONV_FLOAT16, BOXCONV_BFLOAT16, BOXCONV_FLOAT32, BOXCONV_FLOAT64 };
enum { BOXCONV_CHANNELS_LAST, BOXCONV_CHANNELS_FIRST };
enum { BOXCONV_NONE, BOXCONV_AREA, BOXCONV_VALID };

/* `dtype` is the element type of input, output and their gradients. Boxes and their gradient are
 * float64 if it is BOXCONV_FLOAT64, otherwise float32. */
typedef struct {
  int64_t batch, height, width, channels, boxes_per_channel, stride_y, stride_x;
  int32_t layout, normalization, dtype;
} boxconv_problem;

/* CPU functions. They run on at most `threads` threads, including the caller's. */
BOXCONV_EXPORT const char* boxconv_cpu_forward(const boxconv_problem* problem, const void* input,
                                               const void* boxes, void* output, int32_t threads);
BOXCONV_EXPORT const char* boxconv_cpu_backward(const boxconv_problem* problem, const void* input,
                                                const void* boxes, const void* output_grad,
                                                void* input_grad, void* boxes_grad,
                                                int32_t threads);
/* A box convolution followed by a 1x1 convolution, which mixes the responses of each pixel.
 *   kernel  [channels * boxes_per_channel, filters]
 *   bias    [filters]
 *   output  like a box convolution's, with `filters` channels
 * Their element type is `dtype`, like that of their gradients. */
BOXCONV_EXPORT const char* boxconv_cpu_separable_forward(const boxconv_problem* problem,
                                                         int64_t filters, const void* input,
                                                         const void* boxes, const void* kernel,
                                                         const void* bias, void* output,
                                                         int32_t threads);
BOXCONV_EXPORT const char* boxconv_cpu_separable_backward(const boxconv_problem* problem,
                                                          int64_t filters, const void* input,
                                                          const void* boxes, const void* kernel,
                                                          const void* output_grad, void* input_grad,
                                                          void* boxes_grad, void* kernel_grad,
                                                          void* bias_grad, int32_t threads);
/* Only the input sizes, layout and dtype of the problem are used. `table` has one row and one
 * column more than the input. It is float32 if `float32_table` is not 0, otherwise float64. */
BOXCONV_EXPORT const char* boxconv_cpu_integral_image(const boxconv_problem* problem,
                                                      int32_t float32_table, const void* input,
                                                      void* table, int32_t threads);

/* CUDA functions. Arrays and workspace are in device memory. The work is queued on `stream`, a
 * cudaStream_t, and may not be finished when the function returns. The *_workspace functions set
 * `bytes` to the size that the workspace needs; it must be aligned to 256 bytes. */
BOXCONV_EXPORT const char* boxconv_cuda_forward_workspace(const boxconv_problem* problem,
                                                          size_t* bytes);
BOXCONV_EXPORT const char* boxconv_cuda_forward(const boxconv_problem* problem, const void* input,
                                                const void* boxes, void* output, void* workspace,
                                                void* stream);

BOXCONV_EXPORT const char* boxconv_cuda_backward_workspace(const boxconv_problem* problem,
                                                           size_t* bytes);
BOXCONV_EXPORT const char* boxconv_cuda_backward(const boxconv_problem* problem, const void* input,
                                                 const void* boxes, const void* output_grad,
                                                 void* input_grad, void* boxes_grad,
                                                 void* workspace, void* stream);

BOXCONV_EXPORT const char* boxconv_cuda_integral_image(const boxconv_problem* problem,
                                                       int32_t float32_table, const void* input,
                                                       void* table, void* stream);

#ifdef __cplusplus
}
#endif

#endif /* BOXCONV_CORE_C_API_BOXCONV_H_ */
