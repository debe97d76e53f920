// Ring buffers of rows: the part of some planes that sliding windows need at the moment.
#ifndef BOXCONV_CORE_CPU_ROW_RINGS_H_
#define BOXCONV_CORE_CPU_ROW_RINGS_H_

#include "core/cpu/plane_windows.h"
#include "core/cpu/running_sums.h"
#include "core/cpu/tiling.h"

namespace boxconv {
namespace BOXCONV_ISA {

// One ring buffer for each plane. Row y of a plane replaces row y - capacity.
template <typename V>
class RowRings {
 public:
  // The number of values in `data`.
  static Index size(Index planes, Index capacity, Index width) {
    return planes * padded_stride(capacity * stride_of(width)) + stride_of(width);
  }

  RowRings() = default;
  RowRings(V* data, Index planes, Index capacity, Index width, Index height)
      : data_(data),
        stride_(stride_of(width)),
        capacity_(capacity),
        height_(height),
        zeros_(data + planes * plane_stride()) {}

  // Must be called once `data` is allocated.
  void clear_zeros() const { clear(zeros_, stride_); }

  // Where to store row y of a plane.
  V* row(Index plane, Index y) const {
    return data_ + plane * plane_stride() + y % capacity_ * stride_;
  }
  Index plane_stride() const { return padded_stride(capacity_ * stride_); }
  PlaneRows<V> rows(Index plane) const {
    return {data_ + plane * plane_stride(), stride_, capacity_, height_, zeros_};
  }
  // The rows of a plane in another array, which holds all of them.
  PlaneRows<V> rows_of(const V* plane, Index width) const {
    return {plane, width, height_, height_, zeros_};
  }

 private:
  static Index stride_of(Index width) { return padded_stride(padded_width(width)); }

  V* data_ = nullptr;
  Index stride_ = 0, capacity_ = 1, height_ = 0;
  V* zeros_ = nullptr;
};

// The rows to load next, of those from `loaded` to `end`: so few that they stay in the cache.
inline Span next_rows(Index loaded, Index end) { return {loaded, min_index(end - loaded, 8)}; }

// The number of rows within reach of a group of kGroupRows outputs, `stride` rows apart.
template <typename V>
Index ring_rows(const Tiling& tiling, const BoxReach& reach, Index stride) {
  return max_index(1, min_index(tiling.rows().source_length(),
                                kGroupRows<V> * stride + reach.bottom - reach.top));
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_ROW_RINGS_H_
