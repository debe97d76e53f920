// How a problem is cut into units of work: a block of channels of a tile of one image. The cut
// depends on the problem alone, never on the number of threads, so results do not either.
#ifndef BOXCONV_CORE_WORK_UNITS_H_
#define BOXCONV_CORE_WORK_UNITS_H_

#include "core/box_conv.h"
#include "core/box_reach.h"
#include "core/plane_windows.h"
#include "core/platform.h"

namespace boxconv {

// What the cut depends on besides the problem: how far boxes reach, and how many channels are taken
// at once. The same for all instruction sets.
struct UnitCut {
  BoxReach reach;
  Index channels;
};

namespace BOXCONV_ISA {

struct Span {
  Index first, count;
};

struct WorkUnit {
  Index image, tile;
  Span channels;
  Span rows, columns;                // of the output, or of the input's gradient
  Span source_rows, source_columns;  // of the input, or of the output's gradient at input pixels
};

// The output's channels that belong to a unit.
inline Span out_channels(const BoxConvProblem& p, const WorkUnit& unit) {
  return {unit.channels.first * p.boxes_per_channel, unit.channels.count * p.boxes_per_channel};
}

// One axis, cut into bands. Band `b` of the outputs i depends on pixels i * stride + [low, high] of
// `size`.
class Bands {
 public:
  Bands(Index outputs, Index stride, Index low, Index high, Index size, Index smallest)
      : outputs_(outputs), stride_(stride), low_(low), high_(high), size_(size) {
    // A band reads what its boxes reach beyond it again, so it is about as long as that or longer;
    // an axis that is hardly longer stays in one piece.
    length_ = rounded_up(larger(smallest, high - low + 1) / stride + 1, 16);
    if (outputs * 2 <= length_ * 3) length_ = larger(outputs, 1);
    count_ = (outputs + length_ - 1) / length_;
  }

  Index count() const { return count_; }
  Index length() const { return length_; }
  Index source_length() const { return smaller(size_, (length_ - 1) * stride_ + high_ - low_ + 1); }

  Span outputs(Index band) const {
    return {band * length_, smaller(length_, outputs_ - band * length_)};
  }
  Span source(Index band) const {
    const Span out = outputs(band);
    const Index first = clamp_index(out.first * stride_ + low_, 0, size_);
    const Index last = (out.first + out.count - 1) * stride_ + high_;
    return {first, clamp_index(last + 1, first, size_) - first};
  }

 private:
  Index outputs_, stride_, low_, high_, size_, length_, count_;
};

class WorkUnits {
 public:
  // `block` is how many channels a unit may have, and `planes` how many planes of scratch a channel
  // takes.
  WorkUnits(const BoxConvProblem& p, const Bands& rows, const Bands& columns, Index block,
            Index planes)
      : channels_(p.channels), rows_(rows), columns_(columns) {
    block_ = block_size(p, block, planes);
    blocks_ = block_ > 0 ? (channels_ + block_ - 1) / block_ : 0;
    count_ = p.batch * tiles() * blocks_;
  }

  Index count() const { return count_; }
  Index tiles() const { return rows_.count() * columns_.count(); }
  // The largest that a unit can have.
  Index block() const { return block_; }
  const Bands& rows() const { return rows_; }
  const Bands& columns() const { return columns_; }

  WorkUnit at(Index unit) const {
    const Index first = unit % blocks_ * block_, tile = unit / blocks_ % tiles();
    const Index row = tile / columns_.count(), column = tile % columns_.count();
    return {unit / blocks_ / tiles(),
            tile,
            {first, smaller(block_, channels_ - first)},
            rows_.outputs(row),
            columns_.outputs(column),
            rows_.source(row),
            columns_.source(column)};
  }

 private:
  // Tall boxes on large planes take fewer channels, for they must not take too much scratch.
  Index block_size(const BoxConvProblem& p, Index block, Index planes) const {
    if (p.layout == Layout::kChannelsFirst) return smaller(1, p.channels);
    constexpr Index kScratchValues = Index{3} << 20;
    const Index values = rows_.source_length() * columns_.source_length() * planes;
    while (block > 1 && block * values > kScratchValues) block /= 2;
    return smaller(block, p.channels);
  }

  Index channels_;
  Bands rows_, columns_;
  Index block_, blocks_, count_;
};

// Tiles of large planes stay in the second-level cache or near it.
constexpr Index kSmallestRows = 128, kSmallestColumns = 128;

inline WorkUnits forward_work(const BoxConvProblem& p, const UnitCut& cut) {
  const BoxReach& reach = cut.reach;
  return WorkUnits(
      p, Bands(p.out_height(), p.stride_y, reach.top, reach.bottom, p.height, kSmallestRows),
      Bands(p.out_width(), p.stride_x, reach.left, reach.right, p.width, kSmallestColumns),
      cut.channels, 1 + p.boxes_per_channel);
}

inline WorkUnits backward_work(const BoxConvProblem& p, const UnitCut& cut) {
  const BoxReach& reach = cut.reach;
  return WorkUnits(p, Bands(p.height, 1, reach.top, reach.bottom, p.height, kSmallestRows),
                   Bands(p.width, 1, reach.left, reach.right, p.width, kSmallestColumns),
                   cut.channels, 1 + p.boxes_per_channel);
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_WORK_UNITS_H_
