// The overlap of pixels and boxes along one axis.
#include "axis.h"

#include <algorithm>
#include <cmath>

namespace boxconv {
namespace fuzz {
namespace {

// Clamps before converting, so that the conversion is always defined.
Index pixel_at(double position, Index pixels) {
  return static_cast<Index>(std::clamp(position, -1.0, static_cast<double>(pixels)));
}

TouchedPixels touched_at(double min, double max, Index center, Index pixels) {
  const double c = static_cast<double>(center), size = static_cast<double>(pixels);
  TouchedPixels t{};
  t.first = pixel_at(std::max(std::ceil(min) - 1 + c, 0.0), pixels);
  t.end = std::max(t.first, pixel_at(std::floor(max) + 1 + c, pixels));
  const double min_pixel = std::ceil(min) - 1 + c, max_pixel = std::floor(max) + c;
  t.min_pixel = min_pixel >= 0 && min_pixel < size ? static_cast<Index>(min_pixel) : -1;
  t.max_pixel = max_pixel >= 0 && max_pixel < size ? static_cast<Index>(max_pixel) : -1;
  return t;
}

void set_extent(double min, double max, double length, Index center, Index pixels,
                Normalization normalization, TouchedPixels* t) {
  t->extent = 1;
  t->min_grows = t->max_grows = normalization == Normalization::kArea;
  if (normalization == Normalization::kArea) t->extent = length;
  if (normalization != Normalization::kValid) return;
  const double begin = static_cast<double>(-center), end = static_cast<double>(pixels - center);
  t->extent = std::max(0.0, std::min(max, end) - std::max(min, begin));
  t->min_grows = t->min_pixel >= 0;
  t->max_grows = t->max_pixel >= 0;
}

}  // namespace

Axis make_axis(double min, double max, Index pixels, Index stride, Normalization normalization,
               double rounding) {
  // The error of core's fractions of a pixel is up to 2^-52.
  const double inaccuracy = 0x1p-55 / rounding;
  const double length = max - min;
  min += 0.5;
  max += 0.5;
  Axis axis;
  axis.pixels = pixels;
  for (Index center = 0; center < pixels; center += stride) {
    TouchedPixels t = touched_at(min, max, center, pixels);
    t.first_weight = axis.weights.size();
    set_extent(min, max, length, center, pixels, normalization, &t);
    if (t.extent > 0) axis.min_extent = std::min(axis.min_extent, t.extent);
    for (Index pixel = t.first; pixel < t.end; ++pixel) {
      const double offset = static_cast<double>(pixel - center);
      const double weight = std::max(0.0, std::min(max, offset + 1) - std::max(min, offset));
      axis.weights.push_back(weight);
      axis.bounds.push_back(weight < 1 ? weight + inaccuracy : weight);
    }
    axis.outputs.push_back(t);
  }
  return axis;
}

bool is_empty(const double* box) {
  constexpr double kMinSide = 1e-150;
  return !(box[2] - box[0] > kMinSide && box[3] - box[1] > kMinSide);
}

}  // namespace fuzz
}  // namespace boxconv
