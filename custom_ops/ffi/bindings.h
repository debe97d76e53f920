// The arguments, results and attributes of each handler, which are the same on every platform. The
// handlers also bind the context of their platform: a thread pool or a stream.
#ifndef BOXCONV_FFI_BINDINGS_H_
#define BOXCONV_FFI_BINDINGS_H_

#include <cstdint>
#include <string_view>
#include <utility>

#include "xla/ffi/api/ffi.h"

namespace boxconv {
namespace ffi {

template <typename Binding>
auto with_box_conv_attributes(Binding&& binding) {
  return std::forward<Binding>(binding)
      .template Attr<xla::ffi::Span<const std::int64_t>>("strides")
      .template Attr<std::string_view>("normalization")
      .template Attr<std::string_view>("data_format");
}

// Arguments: input, boxes. Results: output.
inline auto forward_binding() {
  return with_box_conv_attributes(xla::ffi::Ffi::Bind()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Ret<xla::ffi::AnyBuffer>());
}

// Arguments: input, boxes, output_grad. Results: input_grad, boxes_grad.
inline auto backward_binding() {
  return with_box_conv_attributes(xla::ffi::Ffi::Bind()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Ret<xla::ffi::AnyBuffer>()
                                      .Ret<xla::ffi::AnyBuffer>());
}

// Arguments: input, boxes, kernel, bias. Results: output.
inline auto separable_forward_binding() {
  return with_box_conv_attributes(xla::ffi::Ffi::Bind()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Ret<xla::ffi::AnyBuffer>());
}

// Arguments: input, boxes, kernel, output_grad. Results: input_grad, boxes_grad, kernel_grad,
// bias_grad.
inline auto separable_backward_binding() {
  return with_box_conv_attributes(xla::ffi::Ffi::Bind()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Arg<xla::ffi::AnyBuffer>()
                                      .Ret<xla::ffi::AnyBuffer>()
                                      .Ret<xla::ffi::AnyBuffer>()
                                      .Ret<xla::ffi::AnyBuffer>()
                                      .Ret<xla::ffi::AnyBuffer>());
}

// Arguments: input. Results: table.
inline auto integral_image_binding() {
  return xla::ffi::Ffi::Bind()
      .Arg<xla::ffi::AnyBuffer>()
      .Ret<xla::ffi::AnyBuffer>()
      .Attr<std::string_view>("data_format");
}

}  // namespace ffi
}  // namespace boxconv

#endif  // BOXCONV_FFI_BINDINGS_H_
