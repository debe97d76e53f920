#include "core/cpu/separable_box_conv.h"

#include <vector>

#include "core/base/dispatch.h"

namespace boxconv {
namespace {

// Provisional: whole tensors and plain loops. The blocked kernels replace it.
struct Strides {
  Index pixel, channel, image;
};
Strides strides_of(const SeparableBoxConvProblem& p, Index channels) {
  const Index pixels = p.box_conv.out_height() * p.box_conv.out_width();
  return p.box_conv.layout == Layout::kChannelsLast ? Strides{channels, 1, pixels * channels}
                                                    : Strides{1, pixels, pixels * channels};
}

}  // namespace

template <typename T, typename TBox>
Status separable_box_conv_forward(const SeparableBoxConvProblem& p, const T* input,
                                  const TBox* boxes, const T* kernel, const T* bias, T* output,
                                  const ParallelFor& parallel_for) {
  std::vector<T> responses(p.box_conv.output_size());
  const Status status = box_conv_forward(p.box_conv, input, boxes, responses.data(), parallel_for);
  if (status != Status::kOk) return status;
  const Index depth = p.box_conv.out_channels();
  const Strides a = strides_of(p, depth), c = strides_of(p, p.filters);
  for (Index n = 0; n < p.box_conv.batch; ++n) {
    for (Index x = 0; x < p.box_conv.out_height() * p.box_conv.out_width(); ++x) {
      for (Index f = 0; f < p.filters; ++f) {
        double sum = convert<double>(bias[f]);
        for (Index k = 0; k < depth; ++k) {
          sum += convert<double>(responses[n * a.image + x * a.pixel + k * a.channel]) *
                 convert<double>(kernel[k * p.filters + f]);
        }
        output[n * c.image + x * c.pixel + f * c.channel] = convert<T>(sum);
      }
    }
  }
  return Status::kOk;
}

template <typename T, typename TBox>
Status separable_box_conv_backward(const SeparableBoxConvProblem& p, const T* input,
                                   const TBox* boxes, const T* kernel, const T* output_grad,
                                   T* input_grad, TBox* boxes_grad, T* kernel_grad, T* bias_grad,
                                   const ParallelFor& parallel_for) {
  std::vector<T> responses(p.box_conv.output_size()), responses_grad(p.box_conv.output_size());
  const Status status = box_conv_forward(p.box_conv, input, boxes, responses.data(), parallel_for);
  if (status != Status::kOk) return status;
  const Index depth = p.box_conv.out_channels();
  const Strides a = strides_of(p, depth), c = strides_of(p, p.filters);
  std::vector<double> to_kernel(p.kernel_size()), to_bias(p.filters);
  for (Index n = 0; n < p.box_conv.batch; ++n) {
    for (Index x = 0; x < p.box_conv.out_height() * p.box_conv.out_width(); ++x) {
      for (Index k = 0; k < depth; ++k) {
        double sum = 0;
        const Index i = n * a.image + x * a.pixel + k * a.channel;
        for (Index f = 0; f < p.filters; ++f) {
          const double g = convert<double>(output_grad[n * c.image + x * c.pixel + f * c.channel]);
          sum += g * convert<double>(kernel[k * p.filters + f]);
          to_kernel[k * p.filters + f] += g * convert<double>(responses[i]);
        }
        responses_grad[i] = convert<T>(sum);
      }
      for (Index f = 0; f < p.filters; ++f) {
        to_bias[f] += convert<double>(output_grad[n * c.image + x * c.pixel + f * c.channel]);
      }
    }
  }
  for (Index i = 0; i < p.kernel_size(); ++i) kernel_grad[i] = convert<T>(to_kernel[i]);
  for (Index f = 0; f < p.filters; ++f) bias_grad[f] = convert<T>(to_bias[f]);
  return box_conv_backward(p.box_conv, input, boxes, responses_grad.data(), input_grad, boxes_grad,
                           parallel_for);
}

#define INSTANTIATE(T, TBox)                                                                       \
  template Status separable_box_conv_forward<T, TBox>(const SeparableBoxConvProblem&, const T*,    \
                                                      const TBox*, const T*, const T*, T*,         \
                                                      const ParallelFor&);                         \
  template Status separable_box_conv_backward<T, TBox>(const SeparableBoxConvProblem&, const T*,   \
                                                       const TBox*, const T*, const T*, T*, TBox*, \
                                                       T*, T*, const ParallelFor&);
BOXCONV_FOR_EACH_BOX_TYPE(INSTANTIATE)
#undef INSTANTIATE

}  // namespace boxconv
