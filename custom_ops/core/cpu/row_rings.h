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
    return planes * padded_stride(capacity * stride_of(width));
  }

  RowRings() = default;
  RowRings(V* data, Index capacity, Index width, Index height)
      : data_(data), stride_(stride_of(width)), capacity_(capacity), height_(height) {}

  // Where to store row y of a plane.
  V* row(Index plane, Index y) const {
    return data_ + plane * plane_stride() + y % capacity_ * stride_;
  }
  Index plane_stride() const { return padded_stride(capacity_ * stride_); }
  // The rows of a plane in the ring buffer. `zeros` is a row of zeros.
  PlaneRows<V> rows(Index plane, const V* zeros) const {
    return {data_ + plane * plane_stride(), stride_, capacity_, height_, zeros};
  }

 private:
  static Index stride_of(Index width) { return padded_stride(padded_width(width)); }

  V* data_ = nullptr;
  Index stride_ = 0, capacity_ = 1, height_ = 0;
};

// The number of rows within reach of `outputs` outputs, `stride` rows apart.
inline Index ring_rows(const Tiling& tiling, const BoxReach& reach, Index outputs, Index stride) {
  return max_index(
      1, min_index(tiling.rows().source_length(), outputs * stride + reach.bottom - reach.top));
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_ROW_RINGS_H_
