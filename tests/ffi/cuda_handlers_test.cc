// Compares the CUDA handlers, which run emulated kernels here, with the CPU handlers of the
// installed library. A stand-in for XLA calls both.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../core/check.h"
#include "ffi/handlers.h"
#include "xla/ffi/api/c_api.h"

// The stand-in for XLA: errors, a stream, device memory, and a pool of three threads whose tasks
// run at once in the caller's thread.
struct XLA_FFI_Error {
  XLA_FFI_Error_Code code;
  std::string message;
};

namespace {

char stream;
int allocations = 0;
std::size_t memory_left = std::size_t{1} << 30;

XLA_FFI_Api make_api() {
  XLA_FFI_Api api{};
  api.struct_size = XLA_FFI_Api_STRUCT_SIZE;
  api.XLA_FFI_Error_Create = [](XLA_FFI_Error_Create_Args* args) {
    return new XLA_FFI_Error{args->errc, args->message};
  };
  api.XLA_FFI_Error_GetMessage = [](XLA_FFI_Error_GetMessage_Args* args) {
    args->message = args->error->message.c_str();
  };
  api.XLA_FFI_Error_Destroy = [](XLA_FFI_Error_Destroy_Args* args) { delete args->error; };
  api.XLA_FFI_Stream_Get = [](XLA_FFI_Stream_Get_Args* args) -> XLA_FFI_Error* {
    args->stream = &stream;
    return nullptr;
  };
  api.XLA_FFI_DeviceMemory_Allocate =
      [](XLA_FFI_DeviceMemory_Allocate_Args* args) -> XLA_FFI_Error* {
    if (args->alignment > 16) {
      return new XLA_FFI_Error{XLA_FFI_Error_Code_INVALID_ARGUMENT, "alignment"};
    }
    if (args->size > memory_left) {
      return new XLA_FFI_Error{XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, "no memory"};
    }
    ++allocations;
    // Aligned to 16 bytes, which is all that XLA guarantees, and of exactly the requested size.
    char* data = static_cast<char*>(std::malloc(args->size + 16)) + 16;
    std::memset(data, 0xff, args->size);
    args->data = data;
    return nullptr;
  };
  api.XLA_FFI_DeviceMemory_Free = [](XLA_FFI_DeviceMemory_Free_Args* args) -> XLA_FFI_Error* {
    --allocations;
    std::free(static_cast<char*>(args->data) - 16);
    return nullptr;
  };
  api.XLA_FFI_ThreadPool_NumThreads =
      [](XLA_FFI_ThreadPool_NumThreads_Args* args) -> XLA_FFI_Error* {
    *args->num_threads = 3;
    return nullptr;
  };
  api.XLA_FFI_ThreadPool_Schedule = [](XLA_FFI_ThreadPool_Schedule_Args* args) -> XLA_FFI_Error* {
    args->task(args->data);
    return nullptr;
  };
  return api;
}

const XLA_FFI_Api api = make_api();

using Dims = std::vector<std::int64_t>;

// An array of float32, initially NaN, and its description for XLA.
class Array {
 public:
  explicit Array(Dims dims, float value = std::nanf("")) : dims_(std::move(dims)) {
    std::size_t size = 1;
    for (const auto length : dims_) size *= static_cast<std::size_t>(length);
    values.assign(size, value);
  }
  template <typename Make>
  static Array filled(Dims dims, Make make) {
    Array array(std::move(dims));
    for (float& value : array.values) value = make();
    return array;
  }
  XLA_FFI_Buffer buffer() {
    return {XLA_FFI_Buffer_STRUCT_SIZE,
            nullptr,
            XLA_FFI_DataType_F32,
            values.data(),
            static_cast<std::int64_t>(dims_.size()),
            dims_.data()};
  }

  std::vector<float> values;

 private:
  Dims dims_;
};

struct Attributes {
  std::int64_t stride_y = 1, stride_x = 1;
  std::string normalization = "area", data_format = "NHWC";
  bool box_conv = true;  // false for integral images, which have only a data format
};

// Calls a handler. Returns the message of its error, or an empty string.
std::string call(XLA_FFI_Handler* handler, const Attributes& attributes,
                 std::vector<Array*> arguments, std::vector<Array*> results) {
  std::vector<XLA_FFI_Buffer> buffers;
  for (Array* array : arguments) buffers.push_back(array->buffer());
  for (Array* array : results) buffers.push_back(array->buffer());
  std::vector<void*> pointers;
  for (XLA_FFI_Buffer& buffer : buffers) pointers.push_back(&buffer);
  std::vector<XLA_FFI_ArgType> argument_types(arguments.size(), XLA_FFI_ArgType_BUFFER);
  std::vector<XLA_FFI_RetType> result_types(results.size(), XLA_FFI_RetType_BUFFER);

  // Attributes are sorted by name.
  XLA_FFI_ByteSpan names[] = {{"data_format", 11}, {"normalization", 13}, {"strides", 7}};
  XLA_FFI_ByteSpan* name_pointers[] = {&names[0], &names[1], &names[2]};
  XLA_FFI_AttrType types[] = {XLA_FFI_AttrType_STRING, XLA_FFI_AttrType_STRING,
                              XLA_FFI_AttrType_ARRAY};
  XLA_FFI_ByteSpan data_format = {attributes.data_format.data(), attributes.data_format.size()};
  XLA_FFI_ByteSpan normalization = {attributes.normalization.data(),
                                    attributes.normalization.size()};
  std::int64_t strides[] = {attributes.stride_y, attributes.stride_x};
  XLA_FFI_Array strides_array = {XLA_FFI_DataType_S64, 2, strides};
  void* values[] = {&data_format, &normalization, &strides_array};

  XLA_FFI_CallFrame frame{};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = &api;
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, static_cast<std::int64_t>(arguments.size()),
                argument_types.data(), pointers.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, static_cast<std::int64_t>(results.size()),
                result_types.data(), pointers.data() + arguments.size()};
  frame.attrs = {XLA_FFI_Attrs_STRUCT_SIZE,
                 nullptr,
                 attributes.box_conv ? 3 : 1,
                 types,
                 name_pointers,
                 values};
  XLA_FFI_Error* error = handler(&frame);
  CHECK_EQUAL(allocations, 0);  // scratch memory has been freed
  if (error == nullptr) return "";
  const std::string message = error->message;
  delete error;
  return message;
}

void check_close(const Array& got, const Array& want) {
  double max = 1;
  for (const float value : want.values) max = std::fmax(max, std::fabs(value));
  for (std::size_t i = 0; i < want.values.size(); ++i) {
    CHECK_NEAR(got.values[i], want.values[i], 1e-5 * max);
  }
}

// Calls a CUDA handler and a CPU handler with the same arguments, and compares their results.
void compare_handlers(XLA_FFI_Handler* cuda, XLA_FFI_Handler* cpu, const Attributes& attributes,
                      const std::vector<Array*>& arguments, const std::vector<Dims>& result_dims) {
  std::vector<Array> got, want;
  std::vector<Array*> got_pointers, want_pointers;
  for (const Dims& dims : result_dims) {
    got.emplace_back(dims);
    want.emplace_back(dims);
  }
  for (Array& array : got) got_pointers.push_back(&array);
  for (Array& array : want) want_pointers.push_back(&array);
  CHECK_EQUAL(call(cuda, attributes, arguments, got_pointers), "");
  CHECK_EQUAL(call(cpu, attributes, arguments, want_pointers), "");
  for (std::size_t i = 0; i < got.size(); ++i) check_close(got[i], want[i]);
}

// Compares the handlers on two problems at once, each with its own boxes.
void check_results(const Attributes& attributes) {
  const bool channels_first = attributes.data_format == "NCHW";
  const std::int64_t n = 2, h = 9, w = 7, c = 3, m = 2;
  const std::int64_t out_h = (h + attributes.stride_y - 1) / attributes.stride_y;
  const std::int64_t out_w = (w + attributes.stride_x - 1) / attributes.stride_x;
  const Dims input_dims = channels_first ? Dims{2, n, c, h, w} : Dims{2, n, h, w, c};
  const Dims output_dims =
      channels_first ? Dims{2, n, c * m, out_h, out_w} : Dims{2, n, out_h, out_w, c * m};
  const Dims boxes_dims = {2, c, m, 4};
  std::mt19937 random(5);
  std::uniform_real_distribution<float> uniform(-1, 1), half_size(0.3f, 6);
  const auto value = [&] { return uniform(random); };
  Array input = Array::filled(input_dims, value), grad = Array::filled(output_dims, value);
  int edge = 0;
  Array boxes = Array::filled(
      boxes_dims, [&] { return (edge++ % 4 < 2 ? -1.f : 1.f) * half_size(random) - 0.2f; });

  compare_handlers(tf_boxconv_forward_cuda, tf_boxconv_forward_cpu, attributes, {&input, &boxes},
                   {output_dims});
  compare_handlers(tf_boxconv_backward_cuda, tf_boxconv_backward_cpu, attributes,
                   {&input, &boxes, &grad}, {input_dims, boxes_dims});
  Attributes table_attributes = attributes;
  table_attributes.box_conv = false;
  const Dims table_dims =
      channels_first ? Dims{2, n, c, h + 1, w + 1} : Dims{2, n, h + 1, w + 1, c};
  compare_handlers(tf_boxconv_integral_image_cuda, tf_boxconv_integral_image_cpu, table_attributes,
                   {&input}, {table_dims});
}

TEST(results_agree_with_the_cpu_handlers) {
  for (const char* data_format : {"NHWC", "NCHW"}) {
    for (const char* normalization : {"none", "area", "valid"}) {
      const boxconv::test::Trace trace(std::string(data_format) + ", " + normalization);
      check_results({1, 1, normalization, data_format, true});
      check_results({2, 3, normalization, data_format, true});
    }
  }
}

TEST(errors_name_the_argument) {
  Attributes attributes;
  Array input({1, 4, 4, 2}, 1), boxes({2, 1, 4}, 1), output({1, 4, 4, 2});
  Array few_boxes({1, 1, 4}, 1), short_output({1, 4, 4, 1}), flat({4, 4, 2}, 1);
  const auto forward = [&](Array* x, Array* b, Array* out) {
    return call(tf_boxconv_forward_cuda, attributes, {x, b}, {out});
  };
  CHECK_CONTAINS(forward(&flat, &boxes, &output), "`input` must have rank 4 or more");
  CHECK_CONTAINS(forward(&input, &few_boxes, &output), "`boxes` must have one row per channel");
  CHECK_CONTAINS(forward(&input, &boxes, &short_output), "`output` must have shape [1, 4, 4, 2]");
  CHECK_CONTAINS(
      call(tf_boxconv_backward_cuda, attributes, {&input, &boxes, &short_output}, {&input, &boxes}),
      "`output_grad` must have shape [1, 4, 4, 2]");
  attributes.stride_y = 0;
  CHECK_CONTAINS(forward(&input, &boxes, &output), "`strides` must be two positive integers");
}

TEST(missing_device_memory_is_an_error) {
  Array input({1, 300, 300, 2}, 1), boxes({2, 1, 4}, 1), output({1, 300, 300, 2});
  memory_left = 8;  // the plane is too large for shared memory, so it needs a workspace
  CHECK_CONTAINS(call(tf_boxconv_forward_cuda, Attributes(), {&input, &boxes}, {&output}),
                 "no device memory for a workspace");
  memory_left = std::size_t{1} << 30;
}

}  // namespace
