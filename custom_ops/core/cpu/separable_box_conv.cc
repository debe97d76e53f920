// Computes the responses of a few images at a time and mixes their channels while they are still in
// a cache. The backward pass computes them again, so that a caller need not keep them.
#include "core/cpu/separable_box_conv.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <new>

#include "core/base/dispatch.h"
#include "core/cpu/channel_mixing.h"
#include "core/cpu/grouped_responses.h"
#include "core/cpu/kernels.h"
#include "core/cpu/kernels_mix_channels.h"
#include "core/cpu/kernels_mix_groups.h"
#include "core/cpu/large_planes.h"
#include "core/cpu/parallel_tiles.h"
#include "core/cpu/scratch.h"
#include "core/geometry/box_reach.h"

namespace boxconv {
namespace {

// The responses of several images together take at most this many bytes. They should stay in the
// third-level cache.
constexpr Index kMaxResponseBytes = Index{2} << 20;
// The kernels for small planes (small_planes.h) take images in groups.
constexpr Index kImageGroup = 8;
// The responses of one image take at most this many bytes, unless those of this many channels take
// more. A multiple of a cache line is read of each pixel.
constexpr Index kMaxSliceBytes = Index{32} << 20;
constexpr Index kSliceChannels = 16;

// The number of images at a time, if the responses of an image take `bytes`.
Index images_at_once(Index batch, Index bytes) {
  const Index images = clamp_index(kMaxResponseBytes / max_index(bytes, 1), 1, max_index(batch, 1));
  return images < batch && images > kImageGroup ? images / kImageGroup * kImageGroup : images;
}

// Rough cost in nanoseconds of products with this many multiplications.
Index product_cost(double multiplications) {
  constexpr double kNanoseconds = 0.03;
  return 1 + static_cast<Index>(multiplications * kNanoseconds);
}

// An array that is not initialized. Check ok() before anything else.
template <typename V>
class Array {
 public:
  explicit Array(Index count) : values_(new (std::nothrow) V[static_cast<std::size_t>(count)]) {}
  bool ok() const { return values_ != nullptr; }
  V* data() const { return values_.get(); }

 private:
  std::unique_ptr<V[]> values_;
};

// Memory for responses. Like the scratch memory of the kernels, it stays allocated between calls.
template <typename V>
class ResponseMemory {
 public:
  explicit ResponseMemory(Index count)
      : values_(reinterpret_cast<V*>(
            memory().reserve(static_cast<std::size_t>(max_index(count, 1)) * sizeof(V)))) {}
  ~ResponseMemory() { memory().release(); }
  ResponseMemory(const ResponseMemory&) = delete;
  ResponseMemory& operator=(const ResponseMemory&) = delete;
  bool ok() const { return values_ != nullptr; }
  V* data() const { return values_; }

 private:
  static baseline::ThreadMemory& memory() {
    thread_local baseline::ThreadMemory memory;
    return memory;
  }

  V* values_;
};

// Where the backward pass of some images adds its gradients.
struct GradientTotals {
  Index parts;  // of the gradients of the kernel and the bias
  KernelTotals kernel;
  double* boxes;
};

// A ParallelFor for code that runs in parallel already.
void serially(Index total, Index, const std::function<void(Index, Index)>& body) { body(0, total); }

// Some neighbouring channels of a problem.
struct ChannelSlice {
  Index first, count;
};

// Keeps the responses as an image with the layout of the input. If an image has very many of them,
// only those of some channels at a time.
template <typename T, typename TBox>
class ResponseImages {
 public:
  using V = typename PlaneType<T>::type;

  // Check ok() before anything else.
  ResponseImages(const SeparableBoxConvProblem& p, const TBox* boxes, bool backward,
                 const ParallelFor& parallel_for)
      : p_(p),
        boxes_(boxes),
        parallel_for_(parallel_for),
        pixels_(p.box_conv.out_height() * p.box_conv.out_width()),
        images_(images_at_once(p.box_conv.batch, pixels_ * p.box_conv.out_channels() * sizeof(T))),
        channels_(channels_at_once()),
        depth_(channels_ * p.box_conv.boxes_per_channel),
        responses_(images_ * pixels_ * depth_),
        transposed_weights_(backward ? depth_ * p.filters : 0),
        zeros_(backward ? depth_ : 0),
        edge_grads_(backward ? 4 * depth_ : 0) {}

  bool ok() const {
    return responses_.ok() && transposed_weights_.ok() && zeros_.ok() && edge_grads_.ok();
  }

  Index images_at_a_time() const { return images_; }

  Status forward(Index images, const T* input, const V* weights, const V* bias, T* output) const {
    return for_each_slice([&](const ChannelSlice& slice) {
      const BoxConvProblem part = part_of(images, slice);
      const Status status = respond(part, slice, input);
      if (status != Status::kOk) return status;
      ChannelMixing m =
          channel_mixing(part.layout, images, pixels_, part.out_channels(), p_.filters);
      m.adds = slice.first > 0;
      return mix(m, responses_.data(), weights + first_response(slice) * p_.filters, bias, output);
    });
  }

  Status backward(Index images, const T* input, const V* weights, const T* output_grad,
                  T* input_grad, const GradientTotals& totals) const {
    return for_each_slice([&](const ChannelSlice& slice) {
      const BoxConvProblem part = part_of(images, slice);
      const Index depth = part.out_channels(), first = first_response(slice);
      Status status = respond(part, slice, input);
      if (status != Status::kOk) return status;
      KernelTotals kernel = totals.kernel;
      kernel.kernel += first * p_.filters;
      if (slice.first > 0) kernel.bias = nullptr;
      status = add_gradients(channel_mixing(part.layout, images, pixels_, depth, p_.filters),
                             totals.parts, output_grad, kernel);
      if (status != Status::kOk) return status;
      // The gradients of the responses replace them.
      transpose(weights + first * p_.filters, depth);
      std::fill_n(zeros_.data(), depth, V{0});
      status = mix(channel_mixing(part.layout, images, pixels_, p_.filters, depth), output_grad,
                   transposed_weights_.data(), zeros_.data(), responses_.data());
      if (status != Status::kOk) return status;
      const Index channel = offset_of(slice);
      status = box_conv_backward(part, input + channel, boxes_ + 4 * first, responses_.data(),
                                 input_grad + channel, edge_grads_.data(), parallel_for_);
      for (Index i = 0; i < 4 * depth; ++i) totals.boxes[4 * first + i] += edge_grads_.data()[i];
      return status;
    });
  }

 private:
  // Half types would be rounded after each slice, so they have one slice.
  Index channels_at_once() const {
    const BoxConvProblem& p = p_.box_conv;
    if (!std::is_same<T, V>::value) return p.channels;
    const Index bytes = pixels_ * p.boxes_per_channel * static_cast<Index>(sizeof(T));
    const Index channels = kMaxSliceBytes / max_index(bytes, 1);
    if (channels >= p.channels) return p.channels;
    return min_index(p.channels, max_index(channels / kSliceChannels, 1) * kSliceChannels);
  }

  template <typename Call>
  Status for_each_slice(const Call& call) const {
    const Index channels = p_.box_conv.channels;
    Status status = Status::kOk;
    for (Index c = 0; (c == 0 || c < channels) && status == Status::kOk; c += channels_) {
      status = call(ChannelSlice{c, min_index(channels_, channels - c)});
    }
    return status;
  }

  BoxConvProblem part_of(Index images, const ChannelSlice& slice) const {
    BoxConvProblem part = p_.box_conv;
    part.batch = images;
    part.channels = slice.count;
    part.image_channels = p_.box_conv.channels;
    return part;
  }
  Index first_response(const ChannelSlice& slice) const {
    return slice.first * p_.box_conv.boxes_per_channel;
  }
  // Where a slice begins in an image of the input.
  Index offset_of(const ChannelSlice& slice) const {
    const BoxConvProblem& p = p_.box_conv;
    return p.layout == Layout::kChannelsLast ? slice.first : slice.first * p.height * p.width;
  }

  Status respond(const BoxConvProblem& part, const ChannelSlice& slice, const T* input) const {
    return box_conv_forward(part, input + offset_of(slice), boxes_ + 4 * first_response(slice),
                            responses_.data(), parallel_for_);
  }

  Status mix(const ChannelMixing& m, const T* in, const V* weights, const V* bias, T* out) const {
    const double pixels = min_index(ChannelMixing::kBlockPixels, m.pixels);
    return run_in_parallel(
        m.block_count(), product_cost(pixels * m.in_channels * m.out_channels), parallel_for_,
        [&](Index begin, Index end) {
          return BOXCONV_RUN_KERNEL(mix_channels(m, in, weights, bias, out, begin, end));
        });
  }

  Status add_gradients(const ChannelMixing& m, Index parts, const T* output_grad,
                       const KernelTotals& totals) const {
    const KernelGradientPlan plan(m.in_channels, m.out_channels, parts);
    const double products =
        static_cast<double>(m.images * m.pixels) * m.in_channels * m.out_channels;
    return run_in_parallel(plan.unit_count(), product_cost(products / plan.unit_count()),
                           parallel_for_, [&](Index begin, Index end) {
                             return BOXCONV_RUN_KERNEL(add_kernel_gradients(
                                 m, plan, responses_.data(), output_grad, totals, begin, end));
                           });
  }

  void transpose(const V* weights, Index depth) const {
    for (Index k = 0; k < depth; ++k) {
      for (Index f = 0; f < p_.filters; ++f) {
        transposed_weights_.data()[f * depth + k] = weights[k * p_.filters + f];
      }
    }
  }

  const SeparableBoxConvProblem& p_;
  const TBox* boxes_;
  const ParallelFor& parallel_for_;
  Index pixels_, images_, channels_, depth_;
  ResponseMemory<T> responses_;
  Array<V> transposed_weights_, zeros_;
  Array<TBox> edge_grads_;
};

// Keeps the responses in groups of rows (grouped_responses.h).
template <typename T, typename TBox>
class ResponseGroups {
 public:
  using V = typename PlaneType<T>::type;

  static bool suits(const BoxConvProblem& p, const TBox* boxes, bool backward) {
    if (small_plane_tiling<T>(p).worthwhile()) return false;
    if (kHasLargePlanesKernels<T> && has_large_planes(p)) return false;
    return has_whole_planes(p, forward_tiling_of(p, boxes)) &&
           (!backward || has_whole_planes(p, backward_tiling_of(p, boxes)));
  }

  // Check ok() before anything else.
  ResponseGroups(const SeparableBoxConvProblem& p, const TBox* boxes, bool backward,
                 const ParallelFor& parallel_for)
      : p_(p),
        boxes_(boxes),
        parallel_for_(parallel_for),
        images_(images_at_once(p.box_conv.batch, groups(1).image_stride * sizeof(V))),
        responses_(images_ * groups(1).image_stride) {}

  bool ok() const { return responses_.ok(); }

  Index images_at_a_time() const { return images_; }

  Status forward(Index images, const T* input, const V* weights, const V* bias, T* output) const {
    const GroupedResponses r = groups(images);
    const Status status = respond(r, input);
    if (status != Status::kOk) return status;
    const double products = GroupedResponses::kBlockColumns * r.group_rows * p_.kernel_size();
    return run_in_parallel(
        r.block_count(), product_cost(products), parallel_for_, [&](Index begin, Index end) {
          return BOXCONV_RUN_KERNEL(
              mix_groups(r, responses_.data(), weights, bias, output, begin, end));
        });
  }

  Status backward(Index images, const T* input, const V* weights, const T* output_grad,
                  T* input_grad, const GradientTotals& totals) const {
    const GroupedResponses r = groups(images);
    Status status = respond(r, input);
    if (status != Status::kOk) return status;
    const double row_products = static_cast<double>(r.width) * p_.kernel_size();
    const KernelGradientPlan plan(r.in_channels, r.out_channels, totals.parts);
    status = run_in_parallel(
        plan.unit_count(), product_cost(row_products * r.height * images / plan.unit_count()),
        parallel_for_, [&](Index begin, Index end) {
          return BOXCONV_RUN_KERNEL(add_group_kernel_gradients(
              r, plan, responses_.data(), output_grad, totals.kernel, begin, end));
        });
    if (status != Status::kOk) return status;
    // The gradients of the responses replace them.
    status = run_in_parallel(
        images * r.height, product_cost(row_products), parallel_for_, [&](Index begin, Index end) {
          return BOXCONV_RUN_KERNEL(
              response_gradients(r, weights, output_grad, responses_.data(), begin, end));
        });
    if (status != Status::kOk) return status;
    const BoxConvProblem part = of_images(images);
    const Tiling tiling = backward_tiling_of(part, boxes_);
    const PartialEdgeGradients partial(images, part.boxes_size());
    if (!partial.ok()) return Status::kOutOfMemory;
    status = run_in_parallel(tiling.count(), tile_cost(part, tiling, kBackwardCost), parallel_for_,
                             [&](Index begin, Index end) {
                               return BOXCONV_RUN_KERNEL(grouped_backward(
                                   part, r, tiling, input, boxes_, responses_.data(), input_grad,
                                   partial.data(), begin, end));
                             });
    partial.add_to(totals.boxes);
    return status;
  }

 private:
  static Tiling forward_tiling_of(const BoxConvProblem& p, const TBox* boxes) {
    return forward_tiling(p, reach_of(p, boxes, /*backward=*/false), max_channels_per_tile<T>());
  }
  static Tiling backward_tiling_of(const BoxConvProblem& p, const TBox* boxes) {
    return backward_tiling(p, reach_of(p, boxes, /*backward=*/true), max_channels_per_tile<T>());
  }

  BoxConvProblem of_images(Index images) const {
    BoxConvProblem part = p_.box_conv;
    part.batch = images;
    return part;
  }

  GroupedResponses groups(Index images) const {
    return grouped_responses(p_, images, BOXCONV_RUN_KERNEL(group_rows<T>()));
  }

  Status respond(const GroupedResponses& r, const T* input) const {
    const BoxConvProblem part = of_images(r.images);
    const Tiling tiling = forward_tiling_of(part, boxes_);
    return run_in_parallel(tiling.count(), tile_cost(part, tiling, kForwardCost), parallel_for_,
                           [&](Index begin, Index end) {
                             return BOXCONV_RUN_KERNEL(grouped_forward(
                                 part, r, tiling, input, boxes_, responses_.data(), begin, end));
                           });
  }

  const SeparableBoxConvProblem& p_;
  const TBox* boxes_;
  const ParallelFor& parallel_for_;
  Index images_;
  ResponseMemory<V> responses_;
};

template <typename From, typename To>
void convert_array(const From* in, Index count, To* out) {
  for (Index i = 0; i < count; ++i) out[i] = convert<To>(in[i]);
}

// The sizes of one image.
struct ImageSizes {
  explicit ImageSizes(const SeparableBoxConvProblem& p)
      : input(p.box_conv.input_size() / max_index(p.box_conv.batch, 1)),
        output(p.output_size() / max_index(p.box_conv.batch, 1)) {}
  Index input, output;
};

// With this many images, threads take whole images.
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
  Status status = Status::kOk;
  for (Index i = begin; i < end && status == Status::kOk; i += responses.images_at_a_time()) {
    status = responses.forward(min_index(responses.images_at_a_time(), end - i),
                               input + i * image.input, weights, bias, output + i * image.output);
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
// the images. sum_to() adds the parts up in a fixed order.
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
  convert_array(kernel, p.kernel_size(), weights.data());
  convert_array(bias, p.filters, biases.data());
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
  const bool in_groups = p.box_conv.input_size() * p.kernel_size() > 0 &&
                         ResponseGroups<T, TBox>::suits(p.box_conv, boxes, /*backward=*/true);
  const bool by_images = in_groups && min_index(batch, max_parts) >= kManyImages;
  const Index parts = by_images ? min_index(batch, max_parts) : max_parts;
  const PartialGradients partial(p, parts);
  const Array<V> weights(p.kernel_size());
  if (!partial.ok() || !weights.ok()) return Status::kOutOfMemory;
  convert_array(kernel, p.kernel_size(), weights.data());
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
