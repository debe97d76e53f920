/* The kernels for any program: plain C, no framework.
 *
 * Every function returns NULL, or a text that says what went wrong and need not be freed. */
#ifndef BOXCONV_CORE_BOX_CONV_C_H_
#define BOXCONV_CORE_BOX_CONV_C_H_

#include <stddef.h>
#include <stdint.h>

#define BOXCONV_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum { BOXCONV_FLOAT16, BOXCONV_BFLOAT16, BOXCONV_FLOAT32, BOXCONV_FLOAT64 };
enum { BOXCONV_CHANNELS_LAST, BOXCONV_CHANNELS_FIRST };
enum { BOXCONV_NONE, BOXCONV_AREA, BOXCONV_VALID };

/* Boxes are float64 for images of float64, else float32. */
typedef struct {
  int64_t batch, height, width, channels, boxes_per_channel, stride_y, stride_x;
  int32_t layout, normalization, dtype;
} boxconv_problem;

/* On the CPU, on at most `threads` threads, the caller's included. */
BOXCONV_EXPORT const char* boxconv_host_forward(const boxconv_problem* problem, const void* input,
                                                const void* boxes, void* output, int32_t threads);
BOXCONV_EXPORT const char* boxconv_host_backward(const boxconv_problem* problem, const void* input,
                                                 const void* boxes, const void* output_grad,
                                                 void* input_grad, void* boxes_grad,
                                                 int32_t threads);
/* Of the problem only the sizes of the input, its layout and its type count. Tables are float64 or,
 * with `float32_table`, float32: [.., height + 1, width + 1, ..]. */
BOXCONV_EXPORT const char* boxconv_host_integral_image(const boxconv_problem* problem,
                                                       int32_t float32_table, const void* input,
                                                       void* table, int32_t threads);

/* By CUDA. Pointers are to device memory; work is queued on `stream`, a cudaStream_t, and not
 * waited for. The workspace has as many bytes as the function before it says, aligned to 256. */
BOXCONV_EXPORT const char* boxconv_forward_workspace(const boxconv_problem* problem, size_t* bytes);
BOXCONV_EXPORT const char* boxconv_forward(const boxconv_problem* problem, const void* input,
                                           const void* boxes, void* output, void* workspace,
                                           void* stream);

BOXCONV_EXPORT const char* boxconv_backward_workspace(const boxconv_problem* problem,
                                                      size_t* bytes);
BOXCONV_EXPORT const char* boxconv_backward(const boxconv_problem* problem, const void* input,
                                            const void* boxes, const void* output_grad,
                                            void* input_grad, void* boxes_grad, void* workspace,
                                            void* stream);

BOXCONV_EXPORT const char* boxconv_integral_image_workspace(const boxconv_problem* problem,
                                                            int32_t float32_table, size_t* bytes);
BOXCONV_EXPORT const char* boxconv_integral_image(const boxconv_problem* problem,
                                                  int32_t float32_table, const void* input,
                                                  void* table, void* workspace, void* stream);

#ifdef __cplusplus
}
#endif

#endif /* BOXCONV_CORE_BOX_CONV_C_H_ */
