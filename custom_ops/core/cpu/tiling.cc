// Chooses the size of tiles and their number of channels.
#include "core/cpu/tiling.h"

namespace boxconv {

namespace {

// An axis is split into intervals of at least this many pixels. A tile of this many rows and
// columns stays in or near the second-level cache.
constexpr Index kMinLength = 128;
// The largest number of values in the planes of a tile with several channels.
constexpr Index kMaxScratchValues = Index{3} << 20;

Index channels_per_tile_of(const BoxConvProblem& p, const AxisTiling& rows,
                           const AxisTiling& columns, Index max_channels) {
  if (p.layout == Layout::kChannelsFirst) return min_index(1, p.channels);
  const Index planes_per_channel = 1 + p.boxes_per_channel;
  const Index values = rows.source_length() * columns.source_length() * planes_per_channel;
  while (max_channels > 1 && max_channels * values > kMaxScratchValues) max_channels /= 2;
  return min_index(max_channels, p.channels);
}

}  // namespace

AxisTiling::AxisTiling(Index outputs, Index stride, Index reach_min, Index reach_max, Index size)
    : outputs_(outputs),
      stride_(stride),
      reach_min_(reach_min),
      reach_max_(reach_max),
      size_(size) {
  // Pixels within reach of two neighbouring intervals are read twice, so an interval is at least as
  // long as the reach. An axis that is not much longer than one interval is not split.
  length_ = round_up(max_index(kMinLength, reach_max - reach_min + 1) / stride + 1, 16);
  if (outputs * 2 <= length_ * 3) length_ = max_index(outputs, 1);
  count_ = (outputs + length_ - 1) / length_;
}

Index AxisTiling::count() const { return count_; }

Index AxisTiling::length() const { return length_; }

Index AxisTiling::source_length() const {
  return min_index(size_, (length_ - 1) * stride_ + reach_max_ - reach_min_ + 1);
}

Span AxisTiling::outputs(Index interval) const {
  return {interval * length_, min_index(length_, outputs_ - interval * length_)};
}

Span AxisTiling::source(Index interval) const {
  const Span out = outputs(interval);
  const Index first = clamp_index(out.first * stride_ + reach_min_, 0, size_);
  const Index last = (out.first + out.count - 1) * stride_ + reach_max_;
  return {first, clamp_index(last + 1, first, size_) - first};
}

Tiling::Tiling(const BoxConvProblem& p, const AxisTiling& rows, const AxisTiling& columns,
               Index max_channels)
    : channels_(p.channels), rows_(rows), columns_(columns) {
  channels_per_tile_ = channels_per_tile_of(p, rows, columns, max_channels);
  channel_groups_ =
      channels_per_tile_ > 0 ? (channels_ + channels_per_tile_ - 1) / channels_per_tile_ : 0;
  count_ = p.batch * rectangles_per_image() * channel_groups_;
}

Index Tiling::count() const { return count_; }

Index Tiling::rectangles_per_image() const { return rows_.count() * columns_.count(); }

Index Tiling::channels_per_tile() const { return channels_per_tile_; }

Tile Tiling::at(Index index) const {
  const Index first = index % channel_groups_ * channels_per_tile_;
  const Index rectangle = index / channel_groups_ % rectangles_per_image();
  const Index row = rectangle / columns_.count(), column = rectangle % columns_.count();
  return {index / channel_groups_ / rectangles_per_image(),
          rectangle,
          {first, min_index(channels_per_tile_, channels_ - first)},
          rows_.outputs(row),
          columns_.outputs(column),
          rows_.source(row),
          columns_.source(column)};
}

Tiling forward_tiling(const BoxConvProblem& p, const BoxReach& reach, Index max_channels) {
  return Tiling(p, AxisTiling(p.out_height(), p.stride_y, reach.top, reach.bottom, p.height),
                AxisTiling(p.out_width(), p.stride_x, reach.left, reach.right, p.width),
                max_channels);
}

Tiling backward_tiling(const BoxConvProblem& p, const BoxReach& reach, Index max_channels) {
  return Tiling(p, AxisTiling(p.height, 1, reach.top, reach.bottom, p.height),
                AxisTiling(p.width, 1, reach.left, reach.right, p.width), max_channels);
}

Index integral_image_groups(const IntegralImageProblem& p) {
  return p.layout == Layout::kChannelsFirst
             ? p.channels
             : (p.channels + kIntegralImageChannels - 1) / kIntegralImageChannels;
}

}  // namespace boxconv
