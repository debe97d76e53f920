// The forward kernel: a block of channels becomes planes, each plane a table, each table its boxes'
// responses. Everything of one plane stays in cache.
#ifndef BOXCONV_CORE_BOX_CONV_FORWARD_H_
#define BOXCONV_CORE_BOX_CONV_FORWARD_H_

#include "core/box_conv.h"
#include "core/box_scale.h"
#include "core/channel_blocks.h"
#include "core/plane_block.h"
#include "core/summed_area_table.h"

namespace boxconv {
namespace BOXCONV_ISA {

// One box's responses on one plane. `rows` is room for width + 1 + out_width doubles.
template <typename V>
void respond(const BoxConvProblem& p, const double* table, const BoxEdges& box, double* rows,
             V* out) {
  const Index out_height = p.out_height(), out_width = p.out_width();
  double *sums = rows, *factors = sums + p.width + 1;
  for (Index x = 0; x < out_width; ++x) {
    factors[x] =
        axis_scale(p.normalization, box.left, box.right, box.width, x * p.stride_x, p.width).factor;
  }
  for (Index y = 0; y < out_height; ++y) {
    V* out_row = out + y * out_width;
    const Index center = y * p.stride_y;
    for (Index x = 0; x < out_width; ++x) out_row[x] = 0;
    if (box.empty || !rows_between(table, p.height, p.width, box.top, box.bottom, center, sums)) {
      continue;
    }
    const double factor =
        axis_scale(p.normalization, box.top, box.bottom, box.height, center, p.height).factor;
    columns_between(
        sums, p.width, box.left, box.right, p.stride_x, out_width,
        [=](Index x, double sum) { out_row[x] = static_cast<V>(sum * (factor * factors[x])); });
  }
}

// Computes units [begin, end) of ChannelBlocks(problem). Returns false when memory ran out.
template <typename T, typename TBox>
bool forward_units(const BoxConvProblem& p, const T* input, const TBox* boxes, T* output,
                   Index begin, Index end) {
  using V = typename PlaneType<T>::type;
  const ChannelBlocks blocks(p, sizeof(V));
  const ImageShape in{p.height * p.width, p.channels, p.layout};
  const ImageShape out{p.out_height() * p.out_width(), p.out_channels(), p.layout};
  const Index m_count = p.boxes_per_channel;
  Scratch<V> planes(blocks.size * padded_plane(in.pixels));
  Scratch<V> responses(blocks.size * m_count * padded_plane(out.pixels));
  Scratch<double> table(table_size(p.height, p.width));
  Scratch<double> rows(p.width + 1 + p.out_width());
  if (!planes.data() || !responses.data() || !table.data() || !rows.data()) return false;

  for (Index unit = begin; unit < end; ++unit) {
    const ChannelBlock block = blocks.at(unit);
    load_planes(in, input + block.image * in.pixels * in.channels, block.first, block.count,
                planes.data());
    for (Index c = 0; c < block.count; ++c) {
      build_table(planes.data() + c * padded_plane(in.pixels), p.height, p.width, table.data());
      for (Index m = 0; m < m_count; ++m) {
        respond(p, table.data(), box_edges(boxes + ((block.first + c) * m_count + m) * 4),
                rows.data(), responses.data() + (c * m_count + m) * padded_plane(out.pixels));
      }
    }
    store_planes(out, responses.data(), block.first * m_count, block.count * m_count,
                 output + block.image * out.pixels * out.channels);
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_FORWARD_H_
