// Computes the responses of a few images at a time and mixes their channels while they are still in
// a cache. The backward pass computes them again, so that a caller need not keep them.
#include "core/cpu/separable_box_conv.h"

#include <algorithm>
#include <functional>

#include "core/base/dispatch.h"
#include "core/cpu/convert.h"
#include "core/cpu/parallel_tiles.h"
#include "core/cpu/response_groups.h"
#include "core/cpu/response_images.h"
#include "core/cpu/response_memory.h"

namespace boxconv {
namespace {

// The sizes of one image.
struct ImageSizes {
  explicit ImageSizes(const SeparableBoxConvProblem& p)
      : input(p.box_conv.input_size() / max_index(p.box_conv.batch, 1)),
        output(p.output_size() / max_index(p.box_conv.batch, 1)) {}
  Index input, output;
};

// With this many images in groups, each thread takes whole images. Fewer images are computed one
// after the other, by all threads together.
constexpr Index kManyImages = 8;

// Rough cost in nanoseconds of an image, with this many products per kernel value and pixel.
Index image_cost(const SeparableBoxConvProblem& p, PixelCost boxes, double products) {
  const BoxConvProblem& b = p.box_conv;
  const double pixels = static_cast<double>(b.height * b.width);
  return boxes.nanoseconds(pixels * static_cast<double>(b.channels), b.boxes_per_channel) +
         product_cost(pixels * static_cast<double>(p.kernel_size()) * products);
}

// The forward pass of the images [begin, end).
template <template <typename, typename> class Responses, typename T, typename TBox, typename V>
Status forward_images(const SeparableBoxConvProblem& p, const T* input, const TBox* boxes,
                      const V* weights, const V* bias, T* output, Index begin, Index end,
                      const ParallelFor& parallel_for) {
  const Responses<T, TBox> responses(p, boxes, /*backward=*/false, parallel_for);
  if (!responses.ok()) return Status::kOutOfMemory;
  const ImageSizes image(p);
  const Index count = responses.images_at_a_time();
  Status status = Status::kOk;
  for (Index i = begin; i < end && status == Status::kOk; i += count) {
    const T* next = i + count < end ? input + (i + count) * image.input : nullptr;
    status = responses.forward(min_index(count, end - i), input + i * image.input, weights, bias,
                               next, output + i * image.output);
  }
  return status;
}

// The backward pass of the images [begin, end).
template <template <typename, typename> class Responses, typename T, typename TBox, typename V>
Status backward_images(const SeparableBoxConvProblem& p, const T* input, const TBox* boxes,
                       const V* weights, const T* output_grad, T* input_grad,
                       const GradientTotals& totals, Index begin, Index end,
                       const ParallelFor& parallel_for) {
  const Responses<T, TBox> responses(p, boxes, /*backward=*/true, parallel_for);
  if (!responses.ok()) return Status::kOutOfMemory;
  const ImageSizes image(p);
  Status status = Status::kOk;
  for (Index i = begin; i < end && status == Status::kOk; i += responses.images_at_a_time()) {
    status = responses.backward(min_index(responses.images_at_a_time(), end - i),
                                input + i * image.input, weights, output_grad + i * image.output,
                                input_grad + i * image.input, totals);
  }
  return status;
}

// The gradients of the kernel, the bias and the boxes, in parts. Each part is a sum over some of
// the pixels. sum_to() adds the parts up in a fixed order.
class PartialGradients {
 public:
  PartialGradients(const SeparableBoxConvProblem& p, Index parts)
      : kernel_size_(p.kernel_size()),
        bias_size_(p.filters),
        edges_(p.box_conv.boxes_size()),
        parts_(parts),
        kernel_(parts * (kernel_size_ + bias_size_)),
        boxes_(parts * edges_) {
    if (!ok()) return;
    std::fill_n(kernel_.data(), parts * (kernel_size_ + bias_size_), 0.0);
    std::fill_n(boxes_.data(), parts * edges_, 0.0);
  }

  bool ok() const { return kernel_.ok() && boxes_.ok(); }
  double* boxes(Index part) const { return boxes_.data() + part * edges_; }
  KernelTotals kernel(Index part) const {
    const Index stride = kernel_size_ + bias_size_;
    double* const kernel = kernel_.data() + part * stride;
    return {kernel, kernel + kernel_size_, stride};
  }

  template <typename T, typename TBox>
  void sum_to(T* kernel_grad, T* bias_grad, TBox* boxes_grad) const {
    for (Index i = 0; i < kernel_size_; ++i) kernel_grad[i] = convert<T>(kernel_sum(i));
    for (Index i = 0; i < bias_size_; ++i) bias_grad[i] = convert<T>(kernel_sum(kernel_size_ + i));
    for (Index i = 0; i < edges_; ++i) {
      double sum = 0;
      for (Index part = 0; part < parts_; ++part) sum += boxes(part)[i];
      boxes_grad[i] = static_cast<TBox>(sum);
    }
  }

 private:
  double kernel_sum(Index i) const {
    double sum = 0;
    for (Index part = 0; part < parts_; ++part) sum += kernel(part).kernel[i];
    return sum;
  }

  Index kernel_size_, bias_size_, edges_, parts_;
  Array<double> kernel_, boxes_;
};

}  // namespace

template <typename T, typename TBox>
Status separable_box_conv_forward(const SeparableBoxConvProblem& p, const T* input,
                                  const TBox* boxes, const T* kernel, const T* bias, T* output,
                                  const ParallelFor& parallel_for) {
  using V = typename PlaneType<T>::type;
  if (p.output_size() == 0) return Status::kOk;
  const Array<V> weights(p.kernel_size()), biases(p.filters);
  if (!weights.ok() || !biases.ok()) return Status::kOutOfMemory;
  baseline::convert_values(kernel, p.kernel_size(), weights.data());
  baseline::convert_values(bias, p.filters, biases.data());
  const Index batch = p.box_conv.batch;
  if (!ResponseGroups<T, TBox>::suits(p.box_conv, boxes, /*backward=*/false)) {
    return forward_images<ResponseImages>(p, input, boxes, weights.data(), biases.data(), output, 0,
                                          batch, parallel_for);
  }
  if (batch < kManyImages) {
    return forward_images<ResponseGroups>(p, input, boxes, weights.data(), biases.data(), output, 0,
                                          batch, parallel_for);
  }
  return run_in_parallel(
      batch, image_cost(p, kForwardCost, 1), parallel_for, [&](Index begin, Index end) {
        return forward_images<ResponseGroups>(p, input, boxes, weights.data(), biases.data(),
                                              output, begin, end, serially) == Status::kOk;
      });
}

template <typename T, typename TBox>
Status separable_box_conv_backward(const SeparableBoxConvProblem& p, const T* input,
                                   const TBox* boxes, const T* kernel, const T* output_grad,
                                   T* input_grad, TBox* boxes_grad, T* kernel_grad, T* bias_grad,
                                   const ParallelFor& parallel_for) {
  using V = typename PlaneType<T>::type;
  const Index batch = p.box_conv.batch;
  const Index max_parts = KernelGradientPlan::max_parts(p.kernel_size());
  const bool in_groups = p.box_conv.input_size() > 0 && p.kernel_size() > 0 &&
                         ResponseGroups<T, TBox>::suits(p.box_conv, boxes, /*backward=*/true);
  const bool by_images = in_groups && min_index(batch, max_parts) >= kManyImages;
  const Index parts = by_images ? min_index(batch, max_parts) : max_parts;
  const PartialGradients partial(p, parts);
  const Array<V> weights(p.kernel_size());
  if (!partial.ok() || !weights.ok()) return Status::kOutOfMemory;
  baseline::convert_values(kernel, p.kernel_size(), weights.data());
  const auto run = in_groups ? backward_images<ResponseGroups, T, TBox, V>
                             : backward_images<ResponseImages, T, TBox, V>;
  Status status;
  if (by_images) {
    const Index cost = image_cost(p, kBackwardCost, 2) * batch / parts;
    status = run_in_parallel(parts, cost, parallel_for, [&](Index begin, Index end) {
      bool ok = true;
      for (Index i = begin; i < end; ++i) {
        ok &= run(p, input, boxes, weights.data(), output_grad, input_grad,
                  {1, partial.kernel(i), partial.boxes(i)}, i * batch / parts,
                  (i + 1) * batch / parts, serially) == Status::kOk;
      }
      return ok;
    });
  } else {
    status = run(p, input, boxes, weights.data(), output_grad, input_grad,
                 {parts, partial.kernel(0), partial.boxes(0)}, 0, batch, parallel_for);
  }
  if (status == Status::kOk) partial.sum_to(kernel_grad, bias_grad, boxes_grad);
  return status;
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
