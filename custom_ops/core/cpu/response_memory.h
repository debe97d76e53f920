// Shared by ResponseImages and ResponseGroups: the number of images at a time, costs, sums.
#ifndef BOXCONV_CORE_CPU_RESPONSE_MEMORY_H_
#define BOXCONV_CORE_CPU_RESPONSE_MEMORY_H_

#include <memory>
#include <new>

#include "core/base/platform.h"
#include "core/cpu/channel_mixing.h"

namespace boxconv {

// The responses of several images together take at most this many bytes, so that they stay in the
// third-level cache. A single image, or group of images, may take more.
constexpr Index kMaxResponseBytes = Index{2} << 20;

// The number of images at a time, a multiple of `group`, if the responses of an image take `bytes`.
inline Index images_at_once(Index batch, Index bytes, Index group) {
  const Index groups = kMaxResponseBytes / max_index(bytes * group, 1);
  return clamp_index(batch, 1, max_index(groups, 1) * group);
}

// Rough cost in nanoseconds of products with this many multiplications.
inline Index product_cost(double multiplications) {
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

// The sums to which the backward pass of some images adds its gradients.
struct GradientTotals {
  Index parts;  // of the gradients of the kernel and the bias
  KernelTotals kernel;
  double* boxes;
};

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_RESPONSE_MEMORY_H_
