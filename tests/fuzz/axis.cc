#include "axis.h"

#include <algorithm>
#include <cmath>

namespace boxconv {
namespace fuzz {
namespace {

// Clamps before it converts.
Index pixel_at(double position, Index pixels) {
  return static_cast<Index>(std::clamp(position, -1.0, static_cast<double>(pixels)));
}

Touched touched_at(double low, double high, Index center, Index pixels) {
  const double c = static_cast<double>(center), size = static_cast<double>(pixels);
  Touched t{};
  t.first = pixel_at(std::max(std::ceil(low) - 1 + c, 0.0), pixels);
  t.end = std::max(t.first, pixel_at(std::floor(high) + 1 + c, pixels));
  const double low_pixel = std::ceil(low) - 1 + c, high_pixel = std::floor(high) + c;
  t.low_pixel = low_pixel >= 0 && low_pixel < size ? static_cast<Index>(low_pixel) : -1;
  t.high_pixel = high_pixel >= 0 && high_pixel < size ? static_cast<Index>(high_pixel) : -1;
  return t;
}

void set_extent(double low, double high, double length, Index center, Index pixels,
                Normalization normalization, Touched* t) {
  t->extent = 1;
  t->low_grows = t->high_grows = normalization == Normalization::kArea;
  if (normalization == Normalization::kArea) t->extent = length;
  if (normalization != Normalization::kValid) return;
  const double begin = static_cast<double>(-center), end = static_cast<double>(pixels - center);
  t->extent = std::max(0.0, std::min(high, end) - std::max(low, begin));
  t->low_grows = t->low_pixel >= 0;
  t->high_grows = t->high_pixel >= 0;
}

}  // namespace

Axis make_axis(double low, double high, Index pixels, Index stride, Normalization normalization,
               double rounding) {
  // Core's fractions of a pixel are off by up to 2^-52.
  const double inaccuracy = 0x1p-55 / rounding;
  const double length = high - low;
  low += 0.5;
  high += 0.5;
  Axis axis;
  axis.pixels = pixels;
  for (Index center = 0; center < pixels; center += stride) {
    Touched t = touched_at(low, high, center, pixels);
    t.weights = axis.weights.size();
    set_extent(low, high, length, center, pixels, normalization, &t);
    if (t.extent > 0) axis.smallest_extent = std::min(axis.smallest_extent, t.extent);
    for (Index pixel = t.first; pixel < t.end; ++pixel) {
      const double offset = static_cast<double>(pixel - center);
      const double weight = std::max(0.0, std::min(high, offset + 1) - std::max(low, offset));
      axis.weights.push_back(weight);
      axis.bounds.push_back(weight < 1 ? weight + inaccuracy : weight);
    }
    axis.outputs.push_back(t);
  }
  return axis;
}

bool is_empty(const double* box) {
  constexpr double kSmallestSide = 1e-150;
  return !(box[2] - box[0] > kSmallestSide && box[3] - box[1] > kSmallestSide);
}

}  // namespace fuzz
}  // namespace boxconv
