// The lists of element types, calls of templates by a type that is known only at run time, and the
// names of layouts and normalizations. Shared by TensorFlow's kernels, the XLA handlers and the C
// API.
#ifndef BOXCONV_CORE_BASE_DISPATCH_H_
#define BOXCONV_CORE_BASE_DISPATCH_H_

#include <string_view>

#include "core/base/half.h"
#include "core/base/problem.h"

namespace boxconv {

// Expands to X(T, TBox) for each element type T of images. TBox is the element type of their boxes.
#define BOXCONV_FOR_EACH_BOX_TYPE(X) \
  X(Half, float)                     \
  X(BFloat16, float)                 \
  X(float, float)                    \
  X(double, double)

// Expands to X(T, TTable) for each element type T of images and each element type TTable of
// integral images.
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

// The element types of a box convolution, passed to a generic lambda as a value:
//
//   with_box_types(DataType::kFloat16, [&](auto types) {
//     using T = typename decltype(types)::Image;   // Half
//     using TBox = typename decltype(types)::Box;  // float
//     ...
//   });
template <typename T, typename TBox>
struct BoxTypes {
  using Image = T;
  using Box = TBox;
};

// The element types of an integral image.
template <typename T, typename TTable>
struct TableTypes {
  using Image = T;
  using Table = TTable;
};

// Returns call(BoxTypes<T, TBox>()) for images of type `image`.
template <typename Call>
auto with_box_types(DataType image, const Call& call) {
  switch (image) {
    case DataType::kFloat16:
      return call(BoxTypes<Half, float>());
    case DataType::kBFloat16:
      return call(BoxTypes<BFloat16, float>());
    case DataType::kFloat32:
      return call(BoxTypes<float, float>());
    default:
      return call(BoxTypes<double, double>());
  }
}

// Returns call(TableTypes<T, TTable>()) for images of type `image`. TTable is double if
// `double_table`, otherwise float.
template <typename Call>
auto with_table_types(DataType image, bool double_table, const Call& call) {
  return with_box_types(image, [&](auto types) {
    using T = typename decltype(types)::Image;
    return double_table ? call(TableTypes<T, double>()) : call(TableTypes<T, float>());
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
