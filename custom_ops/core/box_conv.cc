// The interface of core: cuts a problem into units, picks the instruction set, hands the units out.
#include "core/box_conv.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/channel_blocks.h"
#include "core/integral_image.h"
#include "core/plane_block.h"

namespace boxconv {

// Defined in kernel_units.cc, once per instruction set.
#define DECLARE_KERNELS(ISA)                                                                      \
  namespace ISA {                                                                                 \
  template <typename T, typename TBox>                                                            \
  bool forward_units(const BoxConvProblem&, const T*, const TBox*, T*, Index, Index);             \
  template <typename T, typename TBox>                                                            \
  bool backward_units(const BoxConvProblem&, const T*, const TBox*, const T*, T*, double*, Index, \
                      Index);                                                                     \
  template <typename T, typename TTable>                                                          \
  bool integral_image_units(const IntegralImageProblem&, const T*, TTable*, Index, Index);        \
  }
DECLARE_KERNELS(baseline)
#ifdef BOXCONV_HAS_AVX2
DECLARE_KERNELS(avx2)
#endif
#undef DECLARE_KERNELS

namespace {

bool detect_avx2() {
#ifdef BOXCONV_HAS_AVX2
  const char* wanted = std::getenv("TF_BOXCONV_ISA");
  if (wanted != nullptr && std::strcmp(wanted, "baseline") == 0) return false;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool use_avx2() {
  static const bool use = detect_avx2();
  return use;
}

#ifdef BOXCONV_HAS_AVX2
#define BOXCONV_DISPATCH(call) (use_avx2() ? avx2::call : baseline::call)
#else
#define BOXCONV_DISPATCH(call) (baseline::call)
#endif

// A rough cost in nanoseconds: ParallelFor wants its order of magnitude only.
Index block_cost(const BoxConvProblem& p, Index channels, Index per_pixel) {
  return channels * (2 * p.height * p.width +
                     per_pixel * p.boxes_per_channel * p.out_height() * p.out_width());
}

template <typename Units>
Status run_units(Index total, Index cost, const ParallelFor& parallel_for, const Units& units) {
  if (total == 0) return Status::kOk;
  std::atomic<bool> ok{true};
  parallel_for(total, cost, [&](Index begin, Index end) {
    if (!units(begin, end)) ok = false;
  });
  return ok ? Status::kOk : Status::kOutOfMemory;
}

}  // namespace

const char* instruction_set() { return use_avx2() ? "avx2" : "baseline"; }

template <typename T, typename TBox>
Status box_conv_forward(const BoxConvProblem& p, const T* input, const TBox* boxes, T* output,
                        const ParallelFor& parallel_for) {
  if (p.height * p.width * p.out_channels() == 0) return Status::kOk;
  const baseline::ChannelBlocks blocks(p, sizeof(typename baseline::PlaneType<T>::type));
  return run_units(p.batch * blocks.per_image, block_cost(p, blocks.size, 2), parallel_for,
                   [&](Index begin, Index end) {
                     return BOXCONV_DISPATCH(forward_units(p, input, boxes, output, begin, end));
                   });
}

template <typename T, typename TBox>
Status box_conv_backward(const BoxConvProblem& p, const T* input, const TBox* boxes,
                         const T* output_grad, T* input_grad, TBox* boxes_grad,
                         const ParallelFor& parallel_for) {
  const Index edges = p.out_channels() * 4;
  for (Index i = 0; i < edges; ++i) boxes_grad[i] = 0;
  const Index pixels = p.height * p.width;
  if (p.batch * pixels * p.channels == 0) return Status::kOk;
  // Each image's edge gradients are summed in the order of images, whichever thread made them.
  baseline::Scratch<double> image_boxes_grad(p.batch * edges);
  if (!image_boxes_grad.data()) return Status::kOutOfMemory;
  const baseline::ChannelBlocks blocks(p, sizeof(typename baseline::PlaneType<T>::type));
  const Status status =
      run_units(p.batch * blocks.per_image, block_cost(p, blocks.size, 8), parallel_for,
                [&](Index begin, Index end) {
                  return BOXCONV_DISPATCH(backward_units(p, input, boxes, output_grad, input_grad,
                                                         image_boxes_grad.data(), begin, end));
                });
  if (status != Status::kOk) return status;
  for (Index i = 0; i < edges; ++i) {
    double sum = 0;
    for (Index n = 0; n < p.batch; ++n) sum += image_boxes_grad.data()[n * edges + i];
    boxes_grad[i] = static_cast<TBox>(sum);
  }
  return Status::kOk;
}

template <typename T, typename TTable>
Status integral_image(const IntegralImageProblem& p, const T* input, TTable* table,
                      const ParallelFor& parallel_for) {
  const Index cost = 2 * (p.height + 1) * (p.width + 1) *
                     (p.layout == Layout::kChannelsFirst ? 1 : baseline::kIntegralImageChannels);
  return run_units(p.batch * baseline::integral_image_units_per_image(p), cost, parallel_for,
                   [&](Index begin, Index end) {
                     return BOXCONV_DISPATCH(integral_image_units(p, input, table, begin, end));
                   });
}

#define INSTANTIATE(T, TBox)                                                                  \
  template Status box_conv_forward<T, TBox>(const BoxConvProblem&, const T*, const TBox*, T*, \
                                            const ParallelFor&);                              \
  template Status box_conv_backward<T, TBox>(const BoxConvProblem&, const T*, const TBox*,    \
                                             const T*, T*, TBox*, const ParallelFor&);
INSTANTIATE(Half, float)
INSTANTIATE(BFloat16, float)
INSTANTIATE(float, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

#define INSTANTIATE(T, TTable)                                                              \
  template Status integral_image<T, TTable>(const IntegralImageProblem&, const T*, TTable*, \
                                            const ParallelFor&);
INSTANTIATE(Half, float)
INSTANTIATE(Half, double)
INSTANTIATE(BFloat16, float)
INSTANTIATE(BFloat16, double)
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace boxconv
