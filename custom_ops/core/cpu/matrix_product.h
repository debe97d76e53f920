// Products of small matrices, for 1x1 convolutions and their gradients.
//
// The right factor is packed first: its columns are split into panels of two vectors, and each
// panel is stored row by row. A tile of the product, some rows by one panel, stays in registers
// while the sum runs over the depth:
//
//                 panel
//               b00 b01 ...
//               b10 b11 ...      depth
//      a00 a01  c00 c01 ...
//      a10 a11  c10 c11 ...      rows: kTileRows
#ifndef BOXCONV_CORE_CPU_MATRIX_PRODUCT_H_
#define BOXCONV_CORE_CPU_MATRIX_PRODUCT_H_

#include <type_traits>

#include "core/cpu/convert.h"
#include "core/cpu/simd.h"
#include "core/cpu/transpose.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The columns of a panel.
template <typename V>
constexpr Index kPanelColumns = 2 * kMaxLanes<V>;

// The rows of a tile. With AVX-512 there are 32 vector registers instead of 16.
constexpr int kTileRows = kVectorBytes == 64 ? 12 : 6;

// The largest depth of a product. The packed panels of more would leave the second-level cache.
constexpr Index kMaxProductDepth = 256;

// The number of values of a packed matrix.
template <typename V>
Index packed_size(Index depth, Index columns) {
  return depth * round_up(columns, kPanelColumns<V>);
}

// The left factor: element (i, k) is values[i * row_stride + k * depth_stride].
template <typename V>
struct LeftFactor {
  const V* values;
  Index row_stride, depth_stride;
};

// The initial values of the sums. In panel j, element (i, column) is
// values[j * panel_stride + i * row_stride + column].
template <typename V>
struct Initial {
  const V* values;
  Index row_stride, panel_stride;
};

// Computes kRows rows of one panel of the product. If kDepthContiguous, the depth stride of `a`
// is 1.
template <int kRows, bool kDepthContiguous, typename V>
void multiply_tile(const LeftFactor<V> a, const V* panel, Index depth, const V* initial,
                   Index initial_stride, V* out, Index out_stride) {
  constexpr int n = kMaxLanes<V>;
  Vector<V, n> sums[kRows][2];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    sums[i][0] = load_vector<V, n>(initial + i * initial_stride);
    sums[i][1] = load_vector<V, n>(initial + i * initial_stride + n);
  }
  const V* left = a.values;
  for (Index k = 0; k < depth; ++k) {
    const Vector<V, n> right0 = load_vector<V, n>(panel), right1 = load_vector<V, n>(panel + n);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const V factor = left[i * a.row_stride];
      sums[i][0] += factor * right0;
      sums[i][1] += factor * right1;
    }
    left += kDepthContiguous ? 1 : a.depth_stride;
    panel += 2 * n;
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    store_vector<V, n>(sums[i][0], out + i * out_stride);
    store_vector<V, n>(sums[i][1], out + i * out_stride + n);
  }
}

// Computes `rows` <= kRows rows of one panel.
template <int kRows, bool kDepthContiguous, typename V>
void multiply_rows(Index rows, const LeftFactor<V>& a, const V* panel, Index depth,
                   const V* initial, Index initial_stride, V* out, Index out_stride) {
  if (rows == kRows) {
    multiply_tile<kRows, kDepthContiguous>(a, panel, depth, initial, initial_stride, out,
                                           out_stride);
  } else if constexpr (kRows > 1) {
    multiply_rows<kRows - 1, kDepthContiguous>(rows, a, panel, depth, initial, initial_stride, out,
                                               out_stride);
  }
}

// Computes `rows` <= kTileRows rows of one panel, of which only the first `columns` columns exist.
template <bool kDepthContiguous, typename V>
void multiply_panel(Index rows, Index columns, const LeftFactor<V>& a, const V* panel, Index depth,
                    const V* initial, Index initial_stride, V* out, Index out_stride) {
  constexpr Index width = kPanelColumns<V>;
  if (columns == width) {
    multiply_rows<kTileRows, kDepthContiguous>(rows, a, panel, depth, initial, initial_stride, out,
                                               out_stride);
    return;
  }
  V patch[kTileRows * width] = {};
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < columns; ++j) patch[i * width + j] = initial[i * initial_stride + j];
  }
  multiply_rows<kTileRows, kDepthContiguous>(rows, a, panel, depth, patch, width, patch, width);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < columns; ++j) out[i * out_stride + j] = patch[i * width + j];
  }
}

template <bool kDepthContiguous, typename V>
void multiply_all(Index rows, Index columns, Index depth, const LeftFactor<V>& a, const V* packed,
                  const Initial<V>& initial, V* out, Index out_stride) {
  const auto multiply_at = [&](Index i, Index j) {
    const V* first =
        initial.values + j / kPanelColumns<V> * initial.panel_stride + i * initial.row_stride;
    multiply_panel<kDepthContiguous>(
        min_index(kTileRows, rows - i), min_index(kPanelColumns<V>, columns - j),
        {a.values + i * a.row_stride, a.row_stride, a.depth_stride}, packed + j * depth, depth,
        first, initial.row_stride, out + i * out_stride + j, out_stride);
  };
  // If the panels do not stay in a cache near the registers, each is used for all rows at once.
  constexpr std::size_t kMaxNearBytes = std::size_t{64} << 10;
  if (static_cast<std::size_t>(depth * columns) * sizeof(V) > kMaxNearBytes) {
    for (Index j = 0; j < columns; j += kPanelColumns<V>) {
      for (Index i = 0; i < rows; i += kTileRows) multiply_at(i, j);
    }
  } else {
    for (Index i = 0; i < rows; i += kTileRows) {
      for (Index j = 0; j < columns; j += kPanelColumns<V>) multiply_at(i, j);
    }
  }
}

// Sets out[i * out_stride + j] to `initial` plus the sum over k < depth of a(i, k) * b(k, j), for
// i < rows and j < columns. `packed` is the matrix b, by pack(). `initial` may be `out` itself.
template <typename V>
void multiply(Index rows, Index columns, Index depth, const LeftFactor<V>& a, const V* packed,
              const Initial<V>& initial, V* out, Index out_stride) {
  if (a.depth_stride == 1) {
    multiply_all<true>(rows, columns, depth, a, packed, initial, out, out_stride);
  } else {
    multiply_all<false>(rows, columns, depth, a, packed, initial, out, out_stride);
  }
}

// Calls call(k, count, initial) for parts of the depth, from k on, of at most kMaxProductDepth. The
// first part has the given initial values, the others continue the sums in `out`.
template <typename V, typename Call>
void for_each_depth_part(Index depth, Initial<V> initial, const V* out, Index out_stride,
                         const Call& call) {
  for (Index k = 0; k == 0 || k < depth; k += kMaxProductDepth) {
    call(k, min_index(kMaxProductDepth, depth - k), initial);
    initial = {out, out_stride, kPanelColumns<V>};
  }
}

// Sets one row of a panel to `count` values, and the rest to zero.
template <typename T, typename V>
BOXCONV_INLINE void pack_row(const T* in, Index count, V* panel) {
  constexpr int n = kMaxLanes<V>;
  if (count < kPanelColumns<V>) {
    convert_values(in, count, panel);
    for (Index i = count; i < kPanelColumns<V>; ++i) panel[i] = 0;
  } else if constexpr (std::is_same<T, V>::value) {
    store_vector<V, n>(load_vector<V, n>(in), panel);
    store_vector<V, n>(load_vector<V, n>(in + n), panel + n);
  } else {
    convert_values(in, 2 * n, panel);
  }
}

// Sets row k of all panels of a packed matrix with `rows` rows.
template <typename T, typename V>
BOXCONV_INLINE void pack_row_of_panels(const T* in, Index columns, Index k, Index rows, V* packed) {
  for (Index j = 0; j < columns; j += kPanelColumns<V>) {
    pack_row(in + j, min_index(kPanelColumns<V>, columns - j),
             packed + j * rows + k * kPanelColumns<V>);
  }
}

template <typename V>
BOXCONV_INLINE void clear_row_of_panels(Index columns, Index k, Index rows, V* packed) {
  for (Index j = 0; j < columns; j += kPanelColumns<V>) {
    clear(packed + j * rows + k * kPanelColumns<V>, kPanelColumns<V>);
  }
}

// Packs a matrix with the given number of rows. Its element (k, j) is in[k * stride + j].
template <typename T, typename V>
void pack_rows(const T* in, Index stride, Index rows, Index columns, V* packed) {
  for (Index k = 0; k < rows; ++k) {
    pack_row_of_panels(in + k * stride, columns, k, rows, packed);
  }
}

// The same for a matrix that is stored transposed: its element (k, j) is in[j * stride + k].
template <typename T, typename V>
void pack_columns(const T* in, Index stride, Index rows, Index columns, V* packed) {
  constexpr Index width = kPanelColumns<V>;
  for (Index j = 0; j < columns; j += width, packed += rows * width) {
    const Index count = min_index(width, columns - j);
    if (count < width) clear(packed, rows * width);
    transpose(in + j * stride, stride, count, rows, packed, width);
  }
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_MATRIX_PRODUCT_H_
