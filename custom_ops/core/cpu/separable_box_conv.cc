// Computes the responses of a few images at a time and mixes their channels while they are still in
// a cache. The backward pass computes them again, so that a caller need not keep them.
#include "core/cpu/separable_box_conv.h"

#include <algorithm>
#include <memory>
#include <new>

#include "core/base/dispatch.h"
#include "core/cpu/channel_mixing.h"
#include "core/cpu/kernels_mix_channels.h"
#include "core/cpu/run_in_parallel.h"
#include "core/cpu/scratch.h"

namespace boxconv {
namespace {

// The responses of several images together take at most this many bytes. They should stay in the
// third-level cache.
constexpr Index kMaxResponseBytes = Index{4} << 20;
// Kernels for small planes (small_planes.h) take images in groups.
constexpr Index kImageGroup = 8;

// Rough cost of a multiplication and an addition, in nanoseconds.
constexpr double kProductCost = 0.03;

Index images_at_once(const BoxConvProblem& p, Index value_bytes) {
  const Index bytes = max_index(p.out_height() * p.out_width() * p.out_channels() * value_bytes, 1);
  const Index images = clamp_index(kMaxResponseBytes / bytes, 1, max_index(p.batch, 1));
  return images < p.batch && images > kImageGroup ? images / kImageGroup * kImageGroup : images;
}

// An array that is not initialized. Check ok() before anything else.
template <typename V>
class Array {
 public:
  explicit Array(Index count) : values_(new (std::nothrow) V[static_cast<std::size_t>(count)]) {}
  bool ok() const { return values_ != nullptr; }
  V* data() const { return values_.get(); }
  V& operator[](Index i) const { return values_[static_cast<std::size_t>(i)]; }

 private:
  std::unique_ptr<V[]> values_;
};

// The responses of some images. Like the scratch memory of the kernels, the memory stays allocated
// between calls.
template <typename T>
class Responses {
 public:
  explicit Responses(Index count)
      : values_(reinterpret_cast<T*>(
            memory().reserve(static_cast<std::size_t>(max_index(count, 1)) * sizeof(T)))) {}
  ~Responses() { memory().release(); }
  Responses(const Responses&) = delete;
  Responses& operator=(const Responses&) = delete;
  T* data() const { return values_; }

 private:
  static baseline::ThreadMemory& memory() {
    thread_local baseline::ThreadMemory memory;
    return memory;
  }

  T* values_;
};

// A group of images of a problem.
struct ImageGroup {
  Index first, count;
};

// Calls call(group) for each group of images until a status is not kOk.
template <typename Call>
Status for_each_group(const BoxConvProblem& p, Index images, const Call& call) {
  for (Index first = 0; first < p.batch; first += images) {
    const Status status = call(ImageGroup{first, min_index(images, p.batch - first)});
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

// Converts the kernel [responses, filters] to the type of the sums.
template <typename T, typename V>
void convert_kernel(const SeparableBoxConvProblem& p, const T* kernel, V* weights) {
  for (Index i = 0; i < p.kernel_size(); ++i) weights[i] = convert<V>(kernel[i]);
}

// The same, transposed: [filters, responses].
template <typename T, typename V>
void transpose_kernel(const SeparableBoxConvProblem& p, const T* kernel, V* weights) {
  const Index responses = p.box_conv.out_channels();
  for (Index k = 0; k < responses; ++k) {
    for (Index f = 0; f < p.filters; ++f) {
      weights[f * responses + k] = convert<V>(kernel[k * p.filters + f]);
    }
  }
}

Index product_cost(Index pixels, Index in_channels, Index out_channels) {
  return 1 + static_cast<Index>(static_cast<double>(pixels) * static_cast<double>(in_channels) *
                                static_cast<double>(out_channels) * kProductCost);
}

template <typename T, typename V>
Status mix(const ChannelMixing& m, const T* in, const V* weights, const V* bias, T* out,
           const ParallelFor& parallel_for) {
  const Index pixels = min_index(ChannelMixing::kBlockPixels, m.pixels);
  return run_in_parallel(
      m.block_count(), product_cost(pixels, m.in_channels, m.out_channels), parallel_for,
      [&](Index begin, Index end) {
        return BOXCONV_RUN_KERNEL(mix_channels(m, in, weights, bias, out, begin, end));
      });
}

template <typename T>
Status add_gradients(const ChannelMixing& m, const KernelGradientPlan& plan, const T* in,
                     const T* out_grad, double* totals, const ParallelFor& parallel_for) {
  const Index pixels = m.images * m.pixels / plan.parts() + 1;
  return run_in_parallel(
      plan.unit_count(), product_cost(pixels, m.in_channels, m.out_channels) / plan.row_groups(),
      parallel_for, [&](Index begin, Index end) {
        return BOXCONV_RUN_KERNEL(add_kernel_gradients(m, plan, in, out_grad, totals, begin, end));
      });
}

// Adds the parts of the gradients up in a fixed order.
template <typename T>
void sum_parts(const SeparableBoxConvProblem& p, const KernelGradientPlan& plan,
               const double* totals, T* kernel_grad, T* bias_grad) {
  const Index kernel_size = p.kernel_size();
  for (Index i = 0; i < plan.size(); ++i) {
    double sum = 0;
    for (Index part = 0; part < plan.parts(); ++part) sum += totals[part * plan.size() + i];
    (i < kernel_size ? kernel_grad[i] : bias_grad[i - kernel_size]) = convert<T>(sum);
  }
}

}  // namespace

template <typename T, typename TBox>
Status separable_box_conv_forward(const SeparableBoxConvProblem& p, const T* input,
                                  const TBox* boxes, const T* kernel, const T* bias, T* output,
                                  const ParallelFor& parallel_for) {
  using V = typename PlaneType<T>::type;
  if (p.output_size() == 0) return Status::kOk;
  BoxConvProblem part = p.box_conv;
  part.batch = images_at_once(part, sizeof(T));
  const Responses<T> responses(part.output_size());
  const Array<V> weights(p.kernel_size()), biases(p.filters);
  if (!responses.data() || !weights.ok() || !biases.ok()) return Status::kOutOfMemory;
  convert_kernel(p, kernel, weights.data());
  for (Index i = 0; i < p.filters; ++i) biases[i] = convert<V>(bias[i]);
  const Index pixels = part.out_height() * part.out_width();
  return for_each_group(p.box_conv, part.batch, [&](ImageGroup images) {
    part.batch = images.count;
    const T* group_input = input + images.first * part.height * part.width * part.channels;
    const Status status =
        box_conv_forward(part, group_input, boxes, responses.data(), parallel_for);
    if (status != Status::kOk) return status;
    const ChannelMixing m =
        channel_mixing(part.layout, images.count, pixels, part.out_channels(), p.filters);
    return mix(m, responses.data(), weights.data(), biases.data(),
               output + images.first * pixels * p.filters, parallel_for);
  });
}

template <typename T, typename TBox>
Status separable_box_conv_backward(const SeparableBoxConvProblem& p, const T* input,
                                   const TBox* boxes, const T* kernel, const T* output_grad,
                                   T* input_grad, TBox* boxes_grad, T* kernel_grad, T* bias_grad,
                                   const ParallelFor& parallel_for) {
  using V = typename PlaneType<T>::type;
  BoxConvProblem part = p.box_conv;
  part.batch = images_at_once(part, sizeof(T));
  const Index responses_count = part.out_channels(), edges = part.boxes_size();
  const Index pixels = part.out_height() * part.out_width();
  const KernelGradientPlan plan(responses_count, p.filters);
  const Responses<T> responses(part.output_size());
  const Array<V> weights(p.kernel_size()), zeros(responses_count);
  const Array<double> totals(plan.parts() * plan.size()), edge_totals(edges);
  const Array<TBox> edge_grads(edges);
  if (!responses.data() || !weights.ok() || !zeros.ok() || !totals.ok() || !edge_totals.ok() ||
      !edge_grads.ok()) {
    return Status::kOutOfMemory;
  }
  transpose_kernel(p, kernel, weights.data());
  std::fill_n(zeros.data(), responses_count, V{0});
  std::fill_n(totals.data(), plan.parts() * plan.size(), 0.0);
  std::fill_n(edge_totals.data(), edges, 0.0);
  const Status status = for_each_group(p.box_conv, part.batch, [&](ImageGroup images) {
    part.batch = images.count;
    const Index first_input = images.first * part.height * part.width * part.channels;
    const T* group_grad = output_grad + images.first * pixels * p.filters;
    Status done =
        box_conv_forward(part, input + first_input, boxes, responses.data(), parallel_for);
    if (done != Status::kOk) return done;
    done =
        add_gradients(channel_mixing(part.layout, images.count, pixels, responses_count, p.filters),
                      plan, responses.data(), group_grad, totals.data(), parallel_for);
    if (done != Status::kOk) return done;
    // The gradient of the responses replaces them.
    done = mix(channel_mixing(part.layout, images.count, pixels, p.filters, responses_count),
               group_grad, weights.data(), zeros.data(), responses.data(), parallel_for);
    if (done != Status::kOk) return done;
    done = box_conv_backward(part, input + first_input, boxes, responses.data(),
                             input_grad + first_input, edge_grads.data(), parallel_for);
    for (Index i = 0; i < edges; ++i) edge_totals[i] += edge_grads[i];
    return done;
  });
  if (status != Status::kOk) return status;
  for (Index i = 0; i < edges; ++i) boxes_grad[i] = static_cast<TBox>(edge_totals[i]);
  sum_parts(p, plan, totals.data(), kernel_grad, bias_grad);
  return Status::kOk;
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
