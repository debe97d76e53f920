// Box convolution followed by a 1x1 convolution, for any problem: the responses of some images are
// computed by box_conv_forward, then mixed.
#ifndef BOXCONV_CORE_CPU_RESPONSE_IMAGES_H_
#define BOXCONV_CORE_CPU_RESPONSE_IMAGES_H_

#include <algorithm>
#include <type_traits>

#include "core/base/half.h"
#include "core/base/problem.h"
#include "core/cpu/box_conv.h"
#include "core/cpu/channel_mixing.h"
#include "core/cpu/kept_array.h"
#include "core/cpu/kernels_mix_channels.h"
#include "core/cpu/parallel_tiles.h"
#include "core/cpu/response_memory.h"

namespace boxconv {

// Responses are computed for as many channels at a time as fit in this many bytes, but for at least
// kSliceChannels.
constexpr Index kMaxSliceBytes = Index{24} << 20;
constexpr Index kSliceChannels = 8;

// Some neighbouring channels of a problem.
struct ChannelSlice {
  Index first, count;
};

// Keeps the responses as an image with the layout of the input. If an image has very many
// responses, it keeps those of some channels at a time. Half types are rounded to T between the
// steps.
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
        images_(images_at_once()),
        channels_(channels_at_once()),
        depth_(channels_ * p.box_conv.boxes_per_channel),
        responses_(images_ * pixels_ * depth_),
        zeros_(backward ? depth_ : 0),
        edge_grads_(backward ? 4 * depth_ : 0) {
    if (backward && zeros_.ok()) std::fill_n(zeros_.data(), depth_, V{0});
  }

  bool ok() const { return responses_.ok() && zeros_.ok() && edge_grads_.ok(); }

  Index images_at_a_time() const { return images_; }

  Status forward(Index images, const T* input, const V* weights, const V* bias, const T*,
                 T* output) const {
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
      ChannelMixing m = channel_mixing(part.layout, images, pixels_, p_.filters, depth);
      m.transposed = true;
      status = mix(m, output_grad, weights + first * p_.filters, zeros_.data(), responses_.data());
      if (status != Status::kOk) return status;
      const Index channel = offset_of(slice);
      status = box_conv_backward(part, input + channel, boxes_ + 4 * first, responses_.data(),
                                 input_grad + channel, edge_grads_.data(), parallel_for_);
      for (Index i = 0; i < 4 * depth; ++i) totals.boxes[4 * first + i] += edge_grads_.data()[i];
      return status;
    });
  }

 private:
  Index images_at_once() const {
    const BoxConvProblem& p = p_.box_conv;
    const Index group = small_plane_tiling<T>(p).images_at_once();
    return boxconv::images_at_once(p.batch, pixels_ * p.out_channels() * sizeof(T), group);
  }

  // Half types would be rounded after each slice, so they have one slice.
  Index channels_at_once() const {
    const BoxConvProblem& p = p_.box_conv;
    if (!std::is_same<T, V>::value) return p.channels;
    const Index bytes = images_ * pixels_ * p.boxes_per_channel * static_cast<Index>(sizeof(T));
    const Index channels = kMaxSliceBytes / max_index(bytes, 1);
    if (channels >= p.channels) return p.channels;
    return min_index(p.channels, max_index(channels / kSliceChannels, 1) * kSliceChannels);
  }

  template <typename Call>
  Status for_each_slice(const Call& call) const {
    const Index channels = p_.box_conv.channels;
    Status status = Status::kOk;
    for (Index c = 0; (c == 0 || c < channels) && status == Status::kOk;
         c += max_index(channels_, 1)) {
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
  // The offset of the first value of a slice in an image of the input.
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

  const SeparableBoxConvProblem& p_;
  const TBox* boxes_;
  const ParallelFor& parallel_for_;
  Index pixels_, images_, channels_, depth_;
  KeptArray<T> responses_;
  Array<V> zeros_;
  Array<TBox> edge_grads_;
};

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_RESPONSE_IMAGES_H_
