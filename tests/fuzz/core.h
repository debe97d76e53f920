// The only file of the fuzzer that includes headers of core.
#ifndef BOXCONV_TESTS_FUZZ_CORE_H_
#define BOXCONV_TESTS_FUZZ_CORE_H_

#include "core/base/half.h"
#include "core/cpu/box_conv.h"
#include "core/cpu/separable_box_conv.h"
#include "core/cpu/threads.h"

namespace boxconv {
namespace fuzz {

// Boxes are float64 for float64 images and float32 otherwise.
template <typename T>
struct BoxType {
  using type = float;
};
template <>
struct BoxType<double> {
  using type = double;
};

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_CORE_H_
