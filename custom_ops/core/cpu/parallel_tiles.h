// Shared by the parallel loops over tiles: the choice of kernels, costs, partial sums.
#ifndef BOXCONV_CORE_CPU_PARALLEL_TILES_H_
#define BOXCONV_CORE_CPU_PARALLEL_TILES_H_

#include <atomic>
#include <memory>
#include <new>
#include <type_traits>

#include "core/base/half.h"
#include "core/base/problem.h"
#include "core/cpu/box_conv.h"
#include "core/cpu/instruction_sets.h"
#include "core/cpu/kernels_small_planes.h"
#include "core/cpu/small_planes.h"
#include "core/cpu/tiling.h"

namespace boxconv {

// The largest number of channels in a tile. Without AVX-512, 8 channels are half a cache line of
// floats. Whole cache lines would waste less memory bandwidth, but the planes of 16 channels do not
// fit into a second-level cache of 512 KiB. Processors with AVX-512 have larger caches, and vectors
// of whole cache lines.
template <typename T>
Index max_channels_per_tile() {
  using V = typename PlaneType<T>::type;
  const bool whole_cache_lines = chosen_instruction_set() == InstructionSet::kAvx512;
  return whole_cache_lines ? kCacheLineBytes / static_cast<Index>(sizeof(V)) : 8;
}

template <typename T>
SmallPlaneTiling small_plane_tiling(const BoxConvProblem& p) {
  return SmallPlaneTiling(p, BOXCONV_RUN_KERNEL(images_per_group<T>()),
                          sizeof(typename PlaneType<T>::type), sizeof(T));
}

// Whether there are kernels for large planes. Double would need running sums of a wider type.
template <typename T>
constexpr bool kHasLargePlanesKernels = !std::is_same<T, double>::value;

// Rough cost of a tile in nanoseconds.
inline Index tile_cost(const BoxConvProblem& p, const Tiling& tiling, PixelCost cost) {
  const double pixels = static_cast<double>(tiling.rows().length() * tiling.columns().length()) *
                        static_cast<double>(tiling.channels_per_tile());
  return cost.nanoseconds(pixels, p.boxes_per_channel);
}

// Runs kernel(begin, end) over [0, total) in parallel. The kernel returns false if there is not
// enough memory.
template <typename Kernel>
Status run_in_parallel(Index total, Index cost, const ParallelFor& parallel_for,
                       const Kernel& kernel) {
  if (total == 0) return Status::kOk;
  std::atomic<bool> ok{true};
  parallel_for(total, cost, [&](Index begin, Index end) {
    if (!kernel(begin, end)) ok = false;
  });
  return ok ? Status::kOk : Status::kOutOfMemory;
}

// A ParallelFor for code that runs in parallel already.
inline void serially(Index total, Index, const std::function<void(Index, Index)>& body) {
  body(0, total);
}

// Separate edge gradients for each rectangle of each image (see Tile). add_to() sums them in a
// fixed order, so the result does not depend on the number of threads.
class PartialEdgeGradients {
 public:
  PartialEdgeGradients(Index parts, Index edges)
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

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_PARALLEL_TILES_H_
