// The forward kernel. A block of channels of a tile of an image becomes planes; each box sums its
// rows down a plane's columns, and its columns along those sums; the responses go to the output.
#ifndef BOXCONV_CORE_BOX_CONV_FORWARD_H_
#define BOXCONV_CORE_BOX_CONV_FORWARD_H_

#include "core/box_conv.h"
#include "core/box_reach.h"
#include "core/box_scale.h"
#include "core/pixel_rows.h"
#include "core/plane_windows.h"
#include "core/scratch.h"
#include "core/work_units.h"

namespace boxconv {
namespace BOXCONV_ISA {

// Pixels from one row to the next, and from one column to the next.
struct Strides {
  Index y, x;
};

// With "valid", each response has a factor of its own, the product of its row's and its column's:
// values[y * row_step + x] *= that of the response at row rows.first + y and column columns.first +
// x, counted in strides. `factors` has room for the columns.
template <typename V>
void apply_valid_factors(const BoxConvProblem& p, const BoxEdges& box, Span rows, Span columns,
                         Strides strides, V* factors, V* values, Index row_step) {
  for (Index x = 0; x < columns.count; ++x) {
    factors[x] = column_factor<V>(p, box, (columns.first + x) * strides.x);
  }
  for (Index y = 0; y < rows.count; ++y) {
    const V factor = row_factor<V>(p, box, (rows.first + y) * strides.y);
    V* row = values + y * row_step;
    for (Index x = 0; x < columns.count; ++x) row[x] *= factor * factors[x];
  }
}

template <typename T, typename TBox>
class ForwardKernel {
 public:
  using V = typename PlaneType<T>::type;

  ForwardKernel(const BoxConvProblem& p, const TBox* boxes, const WorkUnits& units)
      : p_(p), boxes_(boxes), row_step_(apart(padded_width(units.columns().source_length()))) {
    const Index source_rows = units.rows().source_length();
    const Index source_columns = units.columns().source_length();
    const Index sum_rows = (units.rows().length() - 1) * p.stride_y + 1;
    const Index columns = units.columns().length();
    const Index group_rows = rounded_up(units.rows().length(), kGroupRows<V>);
    plane_step_ = apart(larger(source_rows, group_rows) * row_step_);
    const bool in_place = p.boxes_per_channel == 1;
    const Index responses = in_place ? 0 : units.block() * p.boxes_per_channel;
    const auto planes_piece = memory_.claim<V>(units.block() * plane_step_);
    const auto responses_piece = memory_.claim<V>(responses * plane_step_);
    const auto sums_piece = memory_.claim<V>(sum_rows * row_step_);
    const auto strip_piece = memory_.claim<V>(kGroupRows<V> * row_step_);
    const auto suffix_piece =
        memory_.claim<V>(PlaneWindows<V>::suffix_size(larger(source_rows, source_columns)));
    const auto slid_piece =
        memory_.claim<V>(kGroupRows<V> * larger(row_step_, padded_width(columns) * p.stride_x));
    const auto factors_piece = memory_.claim<V>(columns);
    ok_ = memory_.allocate();
    if (!ok_) return;
    planes_ = memory_.data(planes_piece);
    // A single box's responses take the place of the plane that they are made from.
    responses_ = in_place ? planes_ : memory_.data(responses_piece);
    sums_ = memory_.data(sums_piece);
    strip_ = memory_.data(strip_piece);
    slid_ = memory_.data(slid_piece);
    suffix_ = memory_.data(suffix_piece);
    factors_ = memory_.data(factors_piece);
  }

  bool ok() const { return ok_; }

  // Computes the responses of a unit's boxes into scratch, and asks for some memory meanwhile.
  void respond(const WorkUnit& unit, const T* image, const PrefetchQueue& wanted) const {
    prefetcher_ = Prefetcher();
    const ImageShape shape{p_.height, p_.width, p_.channels, p_.layout};
    load_planes(shape, image, unit.source_rows, unit.source_columns, unit.channels, planes_,
                row_step_, plane_step_);
    for (Index c = 0; c < unit.channels.count; ++c) {
      if (const auto* next = wanted.begins_at(c, unit.channels.count)) prefetcher_ = *next;
      for (Index m = 0; m < p_.boxes_per_channel; ++m) {
        const Index i = c * p_.boxes_per_channel + m;
        respond(unit, box(unit, i), planes_ + c * plane_step_, responses_ + i * plane_step_);
      }
    }
  }

  // Stores them.
  void store(const WorkUnit& unit, T* image) const {
    const ImageShape shape{p_.out_height(), p_.out_width(), p_.out_channels(), p_.layout};
    for (Index row = 0; row < unit.rows.count; ++row) {
      store_row(shape, responses_ + row * row_step_, plane_step_, unit.rows.first + row,
                unit.columns, out_channels(p_, unit), image);
    }
  }

  BoxEdges box(const WorkUnit& unit, Index i) const {
    return box_edges(boxes_ + (out_channels(p_, unit).first + i) * 4);
  }

  // The response of a unit's box i at its output row and column.
  V response(const WorkUnit& unit, Index i, Index row, Index column) const {
    return responses_[i * plane_step_ + row * row_step_ + column];
  }

 private:
  // Rows are summed at each pixel between the first and the last output, and so are columns.
  Index sum_rows(const WorkUnit& unit) const { return (unit.rows.count - 1) * p_.stride_y + 1; }
  Index sum_columns(const WorkUnit& unit) const {
    return (unit.columns.count - 1) * p_.stride_x + 1;
  }

  void respond(const WorkUnit& unit, const BoxEdges& box, const V* plane, V* responses) const {
    const Index columns = sum_columns(unit);
    if (box.empty) {
      clear(responses, unit.rows.count * row_step_);
      return;
    }
    const PlaneWindows<V> windows(suffix_);
    const Index width = padded_width(unit.source_columns.count);
    const Index y = unit.rows.first * p_.stride_y - unit.source_rows.first;
    const Index x = unit.columns.first * p_.stride_x - unit.source_columns.first;
    const auto down = sliding_window<V>(shifted(box.top, y), shifted(box.bottom, y), 1.0,
                                        larger(unit.source_rows.count, sum_rows(unit)));
    const auto along =
        sliding_window<V>(shifted(box.left, x), shifted(box.right, x), constant_scale<V>(p_, box),
                          larger(unit.source_columns.count, columns));
    windows.down(down, plane, row_step_, unit.source_rows.count, width, sums_, sum_rows(unit),
                 &prefetcher_);
    for (Index row = 0; row < unit.rows.count; row += kGroupRows<V>) {
      const Index lines = group_lines<V>(row, unit.rows.count);
      rows_to_strip(sums_ + row * p_.stride_y * row_step_, p_.stride_y * row_step_,
                    unit.rows.count - row, width, strip_, lines);
      windows.along(along, strip_, lines, unit.source_columns.count, slid_, columns, &prefetcher_);
      strip_to_rows(slid_, lines * p_.stride_x, padded_width(unit.columns.count),
                    responses + row * row_step_, row_step_, lines);
    }
    if (p_.normalization == Normalization::kValid) {
      apply_valid_factors(p_, box, unit.rows, unit.columns, {p_.stride_y, p_.stride_x}, factors_,
                          responses, row_step_);
    }
  }

  const BoxConvProblem& p_;
  const TBox* boxes_;
  const Index row_step_;
  Index plane_step_;
  Scratch memory_;
  bool ok_;
  mutable Prefetcher prefetcher_;
  V *planes_, *responses_, *sums_, *strip_, *slid_, *suffix_, *factors_;
};

// Computes units [begin, end). Returns false when memory ran out.
template <typename T, typename TBox>
bool forward_units(const BoxConvProblem& p, const T* input, const TBox* boxes, const UnitCut& cut,
                   T* output, Index begin, Index end) {
  const WorkUnits units = forward_work(p, cut);
  const ForwardKernel<T, TBox> kernel(p, boxes, units);
  if (!kernel.ok()) return false;
  const ImageShape in{p.height, p.width, p.channels, p.layout};
  const ImageShape out{p.out_height(), p.out_width(), p.out_channels(), p.layout};
  for (Index i = begin; i < end; ++i) {
    const WorkUnit unit = units.at(i), next = units.at(smaller(i + 1, end - 1));
    const T* image = input + unit.image * in.size();
    T* result = output + unit.image * out.size();
    // Neighbouring blocks may share cache lines. The first to touch those of the output asks for
    // them while it computes, the last for those of the next block's input.
    PrefetchQueue wanted;
    if (begins_line<T>(out_channels(p, unit))) {
      wanted.add(pixel_prefetcher(out, result, unit.rows, unit.columns, out_channels(p, unit)));
    }
    if (ends_line<T>(unit.channels, p.channels)) {
      wanted.add(pixel_prefetcher(in, input + next.image * in.size(), next.source_rows,
                                  next.source_columns, next.channels));
    }
    kernel.respond(unit, image, wanted);
    kernel.store(unit, result);
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_FORWARD_H_
