// Element types, layouts and normalizations: their lists, their names, and calls by run-time value.
// TensorFlow's kernels, XLA's handlers and the C API all dispatch here.
#ifndef BOXCONV_CORE_BASE_DISPATCH_H_
#define BOXCONV_CORE_BASE_DISPATCH_H_

#include <string_view>

#include "core/base/half.h"
#include "core/base/problem.h"

namespace boxconv {

// X(T, TBox) for each element type of images and the element type of its boxes.
#define BOXCONV_FOR_EACH_BOX_TYPE(X) \
  X(Half, float)                     \
  X(BFloat16, float)                 \
  X(float, float)                    \
  X(double, double)

// X(T, TTable) for each element type of images and of integral images.
#define BOXCONV_FOR_EACH_TABLE_TYPE(X) \
  X(Half, float)                       \
  X(Half, double)                      \
  X(BFloat16, float)                   \
  X(BFloat16, double)                  \
  X(float, float)                      \
  X(float, double)                     \
  X(double, float)                     \
  X(double, double)

enum class DataType { kFloat16, kBFloat16, kFloat32, kFloat64 };

// Two element types as a value: call(TypePair<float, double>()).
template <typename T, typename TOther>
struct TypePair {
  using Image = T;
  using Other = TOther;
};

// Returns call(TypePair<T, TBox>()) for images of type `image`.
template <typename Call>
auto with_box_types(DataType image, const Call& call) {
  switch (image) {
    case DataType::kFloat16:
      return call(TypePair<Half, float>());
    case DataType::kBFloat16:
      return call(TypePair<BFloat16, float>());
    case DataType::kFloat32:
      return call(TypePair<float, float>());
    default:
      return call(TypePair<double, double>());
  }
}

// Returns call(TypePair<T, TTable>()) for images of type `image` and tables of double or float.
template <typename Call>
auto with_table_types(DataType image, bool double_table, const Call& call) {
  return with_box_types(image, [&](auto types) {
    using T = typename decltype(types)::Image;
    return double_table ? call(TypePair<T, double>()) : call(TypePair<T, float>());
  });
}

// Reads "NHWC" or "NCHW". Returns false for any other name.
inline bool parse_layout(std::string_view name, Layout* layout) {
  *layout = name == "NCHW" ? Layout::kChannelsFirst : Layout::kChannelsLast;
  return name == "NHWC" || name == "NCHW";
}

// Reads "none", "area" or "valid". Returns false for any other name.
inline bool parse_normalization(std::string_view name, Normalization* normalization) {
  *normalization = name == "area"    ? Normalization::kArea
                   : name == "valid" ? Normalization::kValid
                                     : Normalization::kNone;
  return name == "none" || name == "area" || name == "valid";
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_BASE_DISPATCH_H_
