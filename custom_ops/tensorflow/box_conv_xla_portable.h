// Box convolution, its gradient and integral images in XLA's own operations, for devices without a
// compiled kernel.
//
// The response of one channel X to one box is Ay X Ax^T. Ay[i, j] is the part of pixel row j that
// the box covers at output row i, and Ax likewise for columns. The code below repeats the geometry
// of core/geometry/ (box_edge.h, box_extent.h) in XLA operations. Tests compare its results with a
// float64 reference.
//
// Shapes: N images, C channels, M boxes per channel, H x W input, H' x W' output.
#ifndef BOXCONV_TENSORFLOW_BOX_CONV_XLA_PORTABLE_H_
#define BOXCONV_TENSORFLOW_BOX_CONV_XLA_PORTABLE_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "core/base/problem.h"
#include "xla/hlo/builder/lib/arithmetic.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

namespace boxconv {

using Axes = std::vector<std::int64_t>;

inline xla::XlaOp sum_over(xla::XlaOp values, xla::PrimitiveType type, const Axes& axes) {
  xla::XlaBuilder* builder = values.builder();
  return xla::Reduce(values, xla::Zero(builder, type),
                     xla::CreateScalarAddComputation(type, builder), axes);
}

// The dot product of `a` and `b` over the contracted axes, for each index of the batch axes. The
// result has the batch axes, then the remaining axes of `a`, then the remaining axes of `b`.
inline xla::XlaOp dot(xla::XlaOp a, const Axes& batch_a, const Axes& contracted_a, xla::XlaOp b,
                      const Axes& batch_b, const Axes& contracted_b) {
  xla::DotDimensionNumbers numbers;
  for (const auto axis : batch_a) numbers.add_lhs_batch_dimensions(axis);
  for (const auto axis : batch_b) numbers.add_rhs_batch_dimensions(axis);
  for (const auto axis : contracted_a) numbers.add_lhs_contracting_dimensions(axis);
  for (const auto axis : contracted_b) numbers.add_rhs_contracting_dimensions(axis);
  // By default, accelerators multiply float32 values in bfloat16.
  xla::PrecisionConfig precision;
  precision.add_operand_precision(xla::PrecisionConfig::HIGHEST);
  precision.add_operand_precision(xla::PrecisionConfig::HIGHEST);
  return xla::DotGeneral(a, b, numbers, &precision);
}

// The matrices Ay or Ax, divided by the extent of the normalization, and their derivatives with
// respect to the min and the max edge. For rows, each has the shape [C, M, H', H].
struct OverlapMatrices {
  xla::XlaOp overlap, d_min, d_max;
};

// Computes in `type`, the element type of the boxes.
class PortableBoxConv {
 public:
  PortableBoxConv(const BoxConvProblem& problem, xla::PrimitiveType type, xla::XlaOp boxes)
      : p_(problem), type_(type), builder_(boxes.builder()) {
    // The response of a box that is empty or inverted, or contains a NaN, is zero.
    const xla::XlaOp not_empty =
        xla::And(xla::Gt(edge(boxes, 2), edge(boxes, 0)), xla::Gt(edge(boxes, 3), edge(boxes, 1)));
    rows_ = matrices(edge(boxes, 0), edge(boxes, 2), not_empty, p_.height, p_.stride_y);
    columns_ = matrices(edge(boxes, 1), edge(boxes, 3), not_empty, p_.width, p_.stride_x);
  }

  xla::XlaOp forward(xla::XlaOp input, xla::PrimitiveType output_type) const {
    // Sums over the rows, [C, N, W, M, H'], then over the columns, [C, M, N, H', W'].
    const xla::XlaOp row_sums = dot(planes(input), {0}, {2}, rows_.overlap, {0}, {3});
    const xla::XlaOp output = dot(row_sums, {0, 3}, {2}, columns_.overlap, {0, 1}, {3});
    return xla::ConvertElementType(to_output_layout(output), output_type);
  }

  // The gradients with respect to the input and to the boxes.
  std::pair<xla::XlaOp, xla::XlaOp> backward(xla::XlaOp input, xla::XlaOp output_grad,
                                             xla::PrimitiveType input_type) const {
    const xla::XlaOp x = planes(input);
    const xla::XlaOp grad = from_output_layout(output_grad);
    // The output gradient multiplied by the overlaps: of the columns, summed over W',
    // [C, M, N, H', W]; and of the rows, summed over H', [C, M, N, W', H].
    const xla::XlaOp along_rows = dot(grad, {0, 1}, {4}, columns_.overlap, {0, 1}, {2});
    const xla::XlaOp along_columns = dot(grad, {0, 1}, {3}, rows_.overlap, {0, 1}, {2});
    const xla::XlaOp input_grad =  // [C, N, W, H]
        dot(along_rows, {0}, {1, 3}, rows_.overlap, {0}, {1, 2});
    // Gradients with respect to the matrices of overlaps: [C, M, H', H] and [C, M, W', W].
    const xla::XlaOp rows_grad = dot(along_rows, {0}, {2, 4}, x, {0}, {1, 3});
    const xla::XlaOp columns_grad = dot(along_columns, {0}, {2, 4}, x, {0}, {1, 2});
    const auto edge_grad = [&](xla::XlaOp derivative, xla::XlaOp overlap_grad) {
      return xla::Reshape(sum_over(derivative * overlap_grad, type_, {2, 3}),
                          {p_.channels, p_.boxes_per_channel, 1});
    };
    const xla::XlaOp boxes_grad = xla::ConcatInDim(
        builder_,
        {edge_grad(rows_.d_min, rows_grad), edge_grad(columns_.d_min, columns_grad),
         edge_grad(rows_.d_max, rows_grad), edge_grad(columns_.d_max, columns_grad)},
        2);
    const Axes to_input = channels_first() ? Axes{1, 0, 3, 2} : Axes{1, 3, 2, 0};
    return {xla::ConvertElementType(xla::Transpose(input_grad, to_input), input_type), boxes_grad};
  }

 private:
  bool channels_first() const { return p_.layout == Layout::kChannelsFirst; }

  // Transposes images to [C, N, H, W].
  xla::XlaOp planes(xla::XlaOp images) const {
    const Axes axes = channels_first() ? Axes{1, 0, 2, 3} : Axes{3, 0, 1, 2};
    return xla::Transpose(xla::ConvertElementType(images, type_), axes);
  }

  // Transposes [C, M, N, H', W'] to the layout of the output, and back.
  xla::XlaOp to_output_layout(xla::XlaOp values) const {
    const Index n = p_.batch, h = p_.out_height(), w = p_.out_width(), c = p_.out_channels();
    return channels_first() ? xla::Reshape(xla::Transpose(values, {2, 0, 1, 3, 4}), {n, c, h, w})
                            : xla::Reshape(xla::Transpose(values, {2, 3, 4, 0, 1}), {n, h, w, c});
  }
  xla::XlaOp from_output_layout(xla::XlaOp outputs) const {
    const Index n = p_.batch, h = p_.out_height(), w = p_.out_width();
    const Index c = p_.channels, m = p_.boxes_per_channel;
    outputs = xla::ConvertElementType(outputs, type_);
    return channels_first()
               ? xla::Transpose(xla::Reshape(outputs, {n, c, m, h, w}), {1, 2, 0, 3, 4})
               : xla::Transpose(xla::Reshape(outputs, {n, h, w, c, m}), {3, 4, 0, 1, 2});
  }

  // One coordinate of all boxes: [C, M].
  xla::XlaOp edge(xla::XlaOp boxes, Index i) const {
    return xla::Reshape(xla::SliceInDim(boxes, i, i + 1, 1, 2),
                        {p_.channels, p_.boxes_per_channel});
  }

  xla::XlaOp constant(double value) const {
    return xla::ConvertElementType(xla::ConstantR0<double>(builder_, value), type_);
  }

  // The matrices for the min and max edges of all boxes, along an axis of `size` pixels. They are
  // zero unless the box is `not_empty`.
  OverlapMatrices matrices(xla::XlaOp min, xla::XlaOp max, xla::XlaOp not_empty, Index size,
                           Index stride) const {
    const Index outputs = (size + stride - 1) / stride;
    const Axes full = {p_.channels, p_.boxes_per_channel, outputs, size};
    const auto broadcast_per_box = [&](xla::XlaOp values) {
      return xla::BroadcastInDim(values, full, {0, 1});
    };
    const auto broadcast_per_output = [&](xla::XlaOp values) {
      return xla::BroadcastInDim(values, full, {0, 1, 2});
    };
    const auto select_or_zero = [&](xla::XlaOp condition, xla::XlaOp values) {
      return xla::Select(condition, values, xla::ZerosLike(values));
    };
    // Offset of each pixel from the centre pixel of each output. It is subtracted in integers,
    // because `type_` may not hold the indices of a large plane exactly.
    const xla::Shape indices = xla::ShapeUtil::MakeShape(xla::S32, {outputs, size});
    const xla::XlaOp output_index = xla::Iota(builder_, indices, 0);
    const xla::XlaOp pixel_index = xla::Iota(builder_, indices, 1);
    const xla::XlaOp offset = xla::BroadcastInDim(
        xla::ConvertElementType(
            pixel_index -
                output_index * xla::ConstantR0<std::int32_t>(builder_, static_cast<int>(stride)),
            type_),
        full, {2, 3});
    const xla::XlaOp begin = offset - constant(0.5), end = offset + constant(0.5);
    const xla::XlaOp min_edge = broadcast_per_box(min), max_edge = broadcast_per_box(max);
    xla::XlaOp overlap = xla::Clamp(
        constant(0.0), xla::Min(end, max_edge) - xla::Max(begin, min_edge), constant(1.0));
    const xla::XlaOp one = xla::Broadcast(constant(1.0), full);
    // An edge on a pixel border has two one-sided derivatives. This takes the one for moving the
    // edge outward: it is nonzero at the pixel that the edge would enter.
    xla::XlaOp d_min =
        xla::Neg(select_or_zero(xla::And(xla::Lt(begin, min_edge), xla::Le(min_edge, end)), one));
    xla::XlaOp d_max =
        select_or_zero(xla::And(xla::Le(begin, max_edge), xla::Lt(max_edge, end)), one);
    if (p_.normalization == Normalization::kArea) {
      const xla::XlaOp inverse = broadcast_per_box(inverse_of(max - min));
      overlap = overlap * inverse;
      d_min = d_min * inverse + overlap * inverse;
      d_max = d_max * inverse - overlap * inverse;
    } else if (p_.normalization == Normalization::kValid) {
      const xla::XlaOp inverse = broadcast_per_output(inverse_of(sum_over(overlap, type_, {3})));
      overlap = overlap * inverse;
      d_min = (d_min - overlap * broadcast_per_output(sum_over(d_min, type_, {3}))) * inverse;
      d_max = (d_max - overlap * broadcast_per_output(sum_over(d_max, type_, {3}))) * inverse;
    }
    const xla::XlaOp keep = broadcast_per_box(not_empty);
    return {select_or_zero(keep, overlap), select_or_zero(keep, d_min),
            select_or_zero(keep, d_max)};
  }

  // 1 / extent, or 0 where extent is not positive. Very large results are limited to a finite
  // value, because zero times infinity would be NaN.
  xla::XlaOp inverse_of(xla::XlaOp extent) const {
    const double max_inverse = type_ == xla::F64 ? 1e300 : 1e30;
    const xla::XlaOp inverse = xla::Min(constant(1.0) / extent, constant(max_inverse));
    return xla::Select(xla::Gt(extent, constant(0.0)), inverse, xla::ZerosLike(inverse));
  }

  const BoxConvProblem p_;
  const xla::PrimitiveType type_;
  xla::XlaBuilder* const builder_;
  OverlapMatrices rows_, columns_;
};

// The integral image (summed-area table), accumulated in double.
inline xla::XlaOp portable_integral_image(const IntegralImageProblem& problem, xla::XlaOp input,
                                          xla::PrimitiveType table_type) {
  xla::XlaBuilder* builder = input.builder();
  const xla::XlaOp zero = xla::Zero(builder, xla::F64);
  const xla::XlaComputation add = xla::CreateScalarAddComputation(xla::F64, builder);
  xla::XlaOp table = xla::ConvertElementType(input, xla::F64);
  const int first_axis = problem.layout == Layout::kChannelsFirst ? 2 : 1;
  const std::int64_t sizes[] = {problem.height, problem.width};
  for (int i = 0; i < 2; ++i) {
    // Along this axis, entry i of the table is the sum of all pixels before i. First a zero is put
    // before the line. Then entry i is the sum over a window that ends at i and is as long as the
    // line. Where the window begins before the line, it reads zeros.
    const int axis = first_axis + i;
    xla::PaddingConfig leading_zero = xla::MakeNoPaddingConfig(4);
    leading_zero.mutable_dimensions(axis)->set_edge_padding_low(1);
    table = xla::Pad(table, zero, leading_zero);
    const std::int64_t length = sizes[i] + 1;
    Axes window(4, 1), ones(4, 1);
    window[axis] = length;
    std::vector<std::pair<std::int64_t, std::int64_t>> window_padding(4, {0, 0});
    window_padding[axis] = {length - 1, 0};
    table = xla::ReduceWindowWithGeneralPadding(table, zero, add, window, ones, ones, ones,
                                                window_padding);
  }
  return xla::ConvertElementType(table, table_type);
}

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_BOX_CONV_XLA_PORTABLE_H_
