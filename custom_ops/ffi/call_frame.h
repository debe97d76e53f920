// The calls of XLA's C interface: checks of a call, its arrays and attributes, and its result.
//
// XLA also has a C++ interface, xla/ffi/api/ffi.h. It is not used here, because TensorFlow before
// 2.20 does not ship it, and because it needs a C++ library newer than that of the oldest systems
// that our wheels support.
#ifndef BOXCONV_FFI_CALL_FRAME_H_
#define BOXCONV_FFI_CALL_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "xla/ffi/api/c_api.h"

namespace boxconv {
namespace ffi {

// The result of a function that may fail.
class Error {
 public:
  static Error success() { return Error(XLA_FFI_Error_Code_OK, ""); }
  static Error invalid_argument(std::string message) {
    return Error(XLA_FFI_Error_Code_INVALID_ARGUMENT, std::move(message));
  }
  static Error out_of_memory(std::string message) {
    return Error(XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, std::move(message));
  }
  static Error internal(std::string message) {
    return Error(XLA_FFI_Error_Code_INTERNAL, std::move(message));
  }

  bool failure() const { return code_ != XLA_FFI_Error_Code_OK; }

  // Returns XLA's form of the error, which is null for success. XLA deletes it.
  XLA_FFI_Error* to_xla(const XLA_FFI_Api* api) const {
    if (!failure()) return nullptr;
    XLA_FFI_Error_Create_Args args{};
    args.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE;
    args.message = message_.c_str();
    args.errc = code_;
    return api->XLA_FFI_Error_Create(&args);
  }

 private:
  Error(XLA_FFI_Error_Code code, std::string message) : code_(code), message_(std::move(message)) {}

  XLA_FFI_Error_Code code_;
  std::string message_;
};

// Returns from the function if `expression` is an error.
#define BOXCONV_RETURN_IF_ERROR(expression) \
  if (::boxconv::ffi::Error error = (expression); error.failure()) return error

// Deletes an error that XLA has returned. Returns whether there was one.
inline bool discard(XLA_FFI_Error* error, const XLA_FFI_Api* api) {
  if (error == nullptr) return false;
  XLA_FFI_Error_Destroy_Args args{};
  args.struct_size = XLA_FFI_Error_Destroy_Args_STRUCT_SIZE;
  args.error = error;
  api->XLA_FFI_Error_Destroy(&args);
  return true;
}

// Integers that XLA owns.
class Integers {
 public:
  Integers() = default;
  Integers(const std::int64_t* values, std::size_t size) : values_(values), size_(size) {}

  const std::int64_t* begin() const { return values_; }
  const std::int64_t* end() const { return values_ + size_; }
  std::size_t size() const { return size_; }
  std::int64_t operator[](std::size_t i) const { return values_[i]; }

 private:
  const std::int64_t* values_ = nullptr;
  std::size_t size_ = 0;
};

// An array, in row-major order. XLA owns its memory.
class Buffer {
 public:
  explicit Buffer(const XLA_FFI_Buffer* buffer) : buffer_(buffer) {}

  XLA_FFI_DataType type() const { return buffer_->dtype; }
  Integers dims() const { return {buffer_->dims, static_cast<std::size_t>(buffer_->rank)}; }
  void* data() const { return buffer_->data; }

  // The number of elements.
  std::int64_t size() const {
    std::int64_t size = 1;
    for (const std::int64_t length : dims()) size *= length;
    return size;
  }
  // The number of bytes, for the element types that box convolutions have.
  std::size_t bytes() const {
    const std::size_t element = type() == XLA_FFI_DataType_F64   ? 8
                                : type() == XLA_FFI_DataType_F32 ? 4
                                                                 : 2;
    return static_cast<std::size_t>(size()) * element;
  }

 private:
  const XLA_FFI_Buffer* buffer_;
};

// A call of a handler. run_handler() has checked the numbers of arguments and results.
class CallFrame {
 public:
  explicit CallFrame(const XLA_FFI_CallFrame* frame) : frame_(frame) {}

  const XLA_FFI_Api* api() const { return frame_->api; }
  XLA_FFI_ExecutionContext* context() const { return frame_->ctx; }

  Buffer argument(int i) const {
    return Buffer(static_cast<const XLA_FFI_Buffer*>(frame_->args.args[i]));
  }
  Buffer result(int i) const {
    return Buffer(static_cast<const XLA_FFI_Buffer*>(frame_->rets.rets[i]));
  }

  Error read_attribute(std::string_view name, std::string_view* text) const {
    const auto* span =
        static_cast<const XLA_FFI_ByteSpan*>(attribute(name, XLA_FFI_AttrType_STRING));
    if (span == nullptr) return no_attribute(name, "a string");
    *text = std::string_view(span->ptr, span->len);
    return Error::success();
  }
  Error read_attribute(std::string_view name, Integers* integers) const {
    const auto* array = static_cast<const XLA_FFI_Array*>(attribute(name, XLA_FFI_AttrType_ARRAY));
    if (array == nullptr || array->dtype != XLA_FFI_DataType_S64) {
      return no_attribute(name, "an array of int64");
    }
    *integers = Integers(static_cast<const std::int64_t*>(array->data), array->size);
    return Error::success();
  }

 private:
  static Error no_attribute(std::string_view name, const char* type) {
    return Error::invalid_argument("there must be an attribute `" + std::string(name) +
                                   "` that is " + type);
  }

  // Returns an attribute, or null if the call has none of this name and type.
  const void* attribute(std::string_view name, XLA_FFI_AttrType type) const {
    const XLA_FFI_Attrs& attributes = frame_->attrs;
    for (std::int64_t i = 0; i < attributes.size; ++i) {
      if (attributes.types[i] == type &&
          std::string_view(attributes.names[i]->ptr, attributes.names[i]->len) == name) {
        return attributes.attrs[i];
      }
    }
    return nullptr;
  }

  const XLA_FFI_CallFrame* frame_;
};

// The threads of XLA's CPU client, for pool_parallel_for().
class ThreadPool {
 public:
  explicit ThreadPool(const CallFrame& frame) : api_(frame.api()), context_(frame.context()) {}

  std::int64_t num_threads() const {
    std::int64_t threads = 0;
    XLA_FFI_ThreadPool_NumThreads_Args args{};
    args.struct_size = XLA_FFI_ThreadPool_NumThreads_Args_STRUCT_SIZE;
    args.ctx = context_;
    args.num_threads = &threads;
    return discard(api_->XLA_FFI_ThreadPool_NumThreads(&args), api_) ? 0 : threads;
  }

  // Runs the task on a thread of the pool, or at once if there is no pool.
  template <typename Task>
  void Schedule(Task task) {
    XLA_FFI_ThreadPool_Schedule_Args args{};
    args.struct_size = XLA_FFI_ThreadPool_Schedule_Args_STRUCT_SIZE;
    args.ctx = context_;
    args.task = [](void* data) {
      Task* const task = static_cast<Task*>(data);
      (*task)();
      delete task;
    };
    args.data = new Task(std::move(task));
    if (discard(api_->XLA_FFI_ThreadPool_Schedule(&args), api_)) args.task(args.data);
  }

 private:
  const XLA_FFI_Api* api_;
  XLA_FFI_ExecutionContext* context_;
};

inline Error check_frame(const XLA_FFI_CallFrame& frame, int arguments, int results) {
  if (frame.stage != XLA_FFI_ExecutionStage_EXECUTE) {
    return Error::invalid_argument("the handler must be called in XLA's stage EXECUTE");
  }
  if (frame.args.size != arguments || frame.rets.size != results) {
    return Error::invalid_argument("there must be " + std::to_string(arguments) +
                                   " arguments and " + std::to_string(results) + " results, got " +
                                   std::to_string(frame.args.size) + " and " +
                                   std::to_string(frame.rets.size));
  }
  for (int i = 0; i < arguments; ++i) {
    if (frame.args.types[i] != XLA_FFI_ArgType_BUFFER) {
      return Error::invalid_argument("all arguments must be arrays");
    }
  }
  for (int i = 0; i < results; ++i) {
    if (frame.rets.types[i] != XLA_FFI_RetType_BUFFER) {
      return Error::invalid_argument("all results must be arrays");
    }
  }
  return Error::success();
}

// Answers a call of a handler: XLA's question for the version of its interface that the handler was
// built for, or a call to compute, which `compute` does.
inline XLA_FFI_Error* run_handler(XLA_FFI_CallFrame* frame, int arguments, int results,
                                  Error (*compute)(const CallFrame&)) {
  if (frame->extension_start != nullptr &&
      frame->extension_start->type == XLA_FFI_Extension_Metadata) {
    auto* const extension = reinterpret_cast<XLA_FFI_Metadata_Extension*>(frame->extension_start);
    extension->metadata->api_version = {XLA_FFI_Api_Version_STRUCT_SIZE, nullptr, XLA_FFI_API_MAJOR,
                                        XLA_FFI_API_MINOR};
    extension->metadata->traits = 0;
    return nullptr;
  }
  Error error = check_frame(*frame, arguments, results);
  if (!error.failure()) error = compute(CallFrame(frame));
  return error.to_xla(frame->api);
}

}  // namespace ffi
}  // namespace boxconv

#endif  // BOXCONV_FFI_CALL_FRAME_H_
