// Chooses the size of tiles and their number of channels.
#include "core/cpu/tiling.h"

namespace boxconv {

namespace {

// An axis is split into intervals of at least this many pixels. A tile of this many rows and
// columns stays in or near the second-level cache.
constexpr Index kMinLength = 128;
// The largest number of values in the planes of a tile with several channels.
constexpr Index kMaxScratchValues = Index{3} << 20;

Index tile_length(Index outputs, Index stride, Index reach) {
  // Pixels within reach of two neighbouring intervals are read twice, so an interval is at least as
  // long as the reach. An axis that is not much longer than one interval is not split.
  const Index length = round_up(max_index(kMinLength, reach) / stride + 1, 16);
  return outputs * 2 <= length * 3 ? max_index(outputs, 1) : length;
}

// `outputs` outputs, `stride` pixels apart, along an axis of `size` pixels.
AxisTiling axis_tiling(Index outputs, Index stride, Index reach_min, Index reach_max, Index size) {
  return AxisTiling(outputs, stride, reach_min, reach_max, size,
                    tile_length(outputs, stride, reach_max - reach_min + 1));
}

Tiling tiling_of(const BoxConvProblem& p, const AxisTiling& rows, const AxisTiling& columns,
                 Index max_channels) {
  const Index values = rows.source_length() * columns.source_length() * (1 + p.boxes_per_channel);
  const Index max = p.layout == Layout::kChannelsFirst ? 1 : max_channels;
  return Tiling(p, rows, columns, channels_within(p.channels, values, kMaxScratchValues, max));
}

}  // namespace

Index channels_within(Index channels, Index values, Index max_values, Index max_channels) {
  while (max_channels > 1 && max_channels * values > max_values) max_channels /= 2;
  return min_index(max_channels, channels);
}

AxisTiling::AxisTiling(Index outputs, Index stride, Index reach_min, Index reach_max, Index size,
                       Index length)
    : outputs_(outputs),
      stride_(stride),
      reach_min_(reach_min),
      reach_max_(reach_max),
      size_(size),
      length_(length),
      count_((outputs + length - 1) / length) {}

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
               Index channels_per_tile)
    : channels_(p.channels), rows_(rows), columns_(columns), channels_per_tile_(channels_per_tile) {
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
  return tiling_of(p, axis_tiling(p.out_height(), p.stride_y, reach.top, reach.bottom, p.height),
                   axis_tiling(p.out_width(), p.stride_x, reach.left, reach.right, p.width),
                   max_channels);
}

Tiling backward_tiling(const BoxConvProblem& p, const BoxReach& reach, Index max_channels) {
  return tiling_of(p, axis_tiling(p.height, 1, reach.top, reach.bottom, p.height),
                   axis_tiling(p.width, 1, reach.left, reach.right, p.width), max_channels);
}

Index integral_image_groups(const IntegralImageProblem& p) {
  return p.layout == Layout::kChannelsFirst
             ? p.channels
             : (p.channels + kIntegralImageChannels - 1) / kIntegralImageChannels;
}

}  // namespace boxconv
