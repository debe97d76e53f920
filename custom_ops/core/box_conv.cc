// The interface of core: cuts a problem into units, picks the instruction set, hands the units out.
#include "core/box_conv.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "core/integral_image.h"
#include "core/work_units.h"

namespace boxconv {

// Defined in kernel_units.cc, once per instruction set.
#define DECLARE_KERNELS(ISA)                                                                      \
  namespace ISA {                                                                                 \
  template <typename T, typename TBox>                                                            \
  bool forward_units(const BoxConvProblem&, const T*, const TBox*, const UnitCut&, T*, Index,     \
                     Index);                                                                      \
  template <typename T, typename TBox>                                                            \
  bool backward_units(const BoxConvProblem&, const T*, const TBox*, const UnitCut&, const T*, T*, \
                      double*, Index, Index);                                                     \
  template <typename T, typename TBox>                                                            \
  bool valid_extent_units(const BoxConvProblem&, const T*, const TBox*, const UnitCut&, const T*, \
                          double*, Index, Index);                                                 \
  template <typename T, typename TTable>                                                          \
  bool integral_image_units(const IntegralImageProblem&, const T*, TTable*, Index, Index);        \
  }
DECLARE_KERNELS(baseline)
#ifdef BOXCONV_HAS_X86
DECLARE_KERNELS(avx2)
DECLARE_KERNELS(avx512)
#endif
#undef DECLARE_KERNELS

namespace {

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// The widest that the machine has and that TF_BOXCONV_ISA has not turned off.
InstructionSet detect_instruction_set() {
#ifdef BOXCONV_HAS_X86
  const char* wanted = std::getenv("TF_BOXCONV_ISA");
  const auto wants = [wanted](const char* name) {
    return wanted != nullptr && std::strcmp(wanted, name) == 0;
  };
  if (wants("baseline") || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    return InstructionSet::kBaseline;
  }
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return avx512 && !wants("avx2") ? InstructionSet::kAvx512 : InstructionSet::kAvx2;
#else
  return InstructionSet::kBaseline;
#endif
}

InstructionSet chosen_instruction_set() {
  static const InstructionSet chosen = detect_instruction_set();
  return chosen;
}

#ifdef BOXCONV_HAS_X86
#define BOXCONV_DISPATCH(call)                                        \
  (chosen_instruction_set() == InstructionSet::kAvx512 ? avx512::call \
   : chosen_instruction_set() == InstructionSet::kAvx2 ? avx2::call   \
                                                       : baseline::call)
#else
#define BOXCONV_DISPATCH(call) (baseline::call)
#endif

// A block of channels is half a cache line of floats: a whole one wastes less, but its planes push
// each other out of second-level caches of 512 KiB. Machines with AVX-512 have larger ones, and
// vectors of whole lines.
template <typename T>
Index channels_at_once() {
  using V = typename baseline::PlaneType<T>::type;
  const bool lines = chosen_instruction_set() == InstructionSet::kAvx512;
  return lines ? baseline::kCacheLine / static_cast<Index>(sizeof(V)) : 8;
}

template <typename T, typename TBox>
UnitCut unit_cut(const BoxConvProblem& p, const TBox* boxes, bool backward) {
  return {baseline::reach_of(p, boxes, backward), channels_at_once<T>()};
}

// What the normalization "valid" takes besides, in the backward pass.
constexpr PixelCost kValidExtentCost{0.3, 5.0};

// Nanoseconds that a unit takes, roughly: ParallelFor splits work by it.
Index unit_cost(const BoxConvProblem& p, const baseline::WorkUnits& units, PixelCost cost) {
  const double pixels = static_cast<double>(units.rows().length() * units.columns().length()) *
                        static_cast<double>(units.block());
  return cost.of(pixels, p.boxes_per_channel);
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

// Edge gradients of each image, and of each of its tiles, apart. They are summed in order,
// whichever thread made them.
class EdgeGradientParts {
 public:
  EdgeGradientParts(Index parts, Index edges)
      : parts_(parts), edges_(edges), data_(new (std::nothrow) double[parts * edges]()) {}
  bool ok() const { return data_ != nullptr; }
  double* data() const { return data_.get(); }

  template <typename TBox>
  void add_to(TBox* boxes_grad) const {
    for (Index i = 0; i < edges_; ++i) {
      double sum = 0;
      for (Index n = 0; n < parts_; ++n) sum += data_[n * edges_ + i];
      boxes_grad[i] += static_cast<TBox>(sum);
    }
  }

 private:
  Index parts_, edges_;
  std::unique_ptr<double[]> data_;
};

}  // namespace

const char* instruction_set() {
  switch (chosen_instruction_set()) {
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    default:
      return "baseline";
  }
}

template <typename T, typename TBox>
Status box_conv_forward(const BoxConvProblem& p, const T* input, const TBox* boxes, T* output,
                        const ParallelFor& parallel_for) {
  if (p.height * p.width * p.out_channels() == 0) return Status::kOk;
  const UnitCut cut = unit_cut<T>(p, boxes, /*backward=*/false);
  const baseline::WorkUnits units = baseline::forward_work(p, cut);
  return run_units(
      units.count(), unit_cost(p, units, kForwardCost), parallel_for, [&](Index begin, Index end) {
        return BOXCONV_DISPATCH(forward_units(p, input, boxes, cut, output, begin, end));
      });
}

template <typename T, typename TBox>
Status box_conv_backward(const BoxConvProblem& p, const T* input, const TBox* boxes,
                         const T* output_grad, T* input_grad, TBox* boxes_grad,
                         const ParallelFor& parallel_for) {
  const Index edges = p.boxes_size();
  for (Index i = 0; i < edges; ++i) boxes_grad[i] = 0;
  if (p.input_size() == 0) return Status::kOk;
  const UnitCut cut = unit_cut<T>(p, boxes, /*backward=*/true);
  const baseline::WorkUnits units = baseline::backward_work(p, cut);
  EdgeGradientParts main(p.batch * units.tiles(), edges);
  if (!main.ok()) return Status::kOutOfMemory;
  Status status = run_units(
      units.count(), unit_cost(p, units, kBackwardCost), parallel_for, [&](Index begin, Index end) {
        return BOXCONV_DISPATCH(
            backward_units(p, input, boxes, cut, output_grad, input_grad, main.data(), begin, end));
      });
  if (status != Status::kOk) return status;
  main.add_to(boxes_grad);
  if (p.normalization != Normalization::kValid || edges == 0) return Status::kOk;

  const UnitCut forward_cut = unit_cut<T>(p, boxes, /*backward=*/false);
  const baseline::WorkUnits forward = baseline::forward_work(p, forward_cut);
  EdgeGradientParts extent(p.batch * forward.tiles(), edges);
  if (!extent.ok()) return Status::kOutOfMemory;
  status = run_units(forward.count(), unit_cost(p, forward, kValidExtentCost), parallel_for,
                     [&](Index begin, Index end) {
                       return BOXCONV_DISPATCH(valid_extent_units(
                           p, input, boxes, forward_cut, output_grad, extent.data(), begin, end));
                     });
  if (status == Status::kOk) extent.add_to(boxes_grad);
  return status;
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
