// Loads a model with TensorFlow's C API only, as a program in another language would.
#include <tensorflow/c/c_api.h>

#include <cstring>
#include <vector>

#include "servable.h"

namespace {

struct DeleteStatus {
  void operator()(TF_Status* status) const { TF_DeleteStatus(status); }
};
using StatusPointer = std::unique_ptr<TF_Status, DeleteStatus>;
struct DeleteTensor {
  void operator()(TF_Tensor* tensor) const { TF_DeleteTensor(tensor); }
};
using TensorPointer = std::unique_ptr<TF_Tensor, DeleteTensor>;

std::string type_name(TF_DataType type) {
  if (type == TF_FLOAT) return "float32";
  return type == TF_BOOL ? "bool" : "other";
}

TF_DataType data_type(const std::string& type) {
  if (type == "uint8") return TF_UINT8;
  if (type == "int32") return TF_INT32;
  if (type == "float32") return TF_FLOAT;
  return TF_STRING;
}

void free_strings(void* data, std::size_t bytes, void*) {
  auto* strings = static_cast<TF_TString*>(data);
  for (std::size_t i = 0; i < bytes / sizeof(TF_TString); ++i) TF_TString_Dealloc(&strings[i]);
  delete[] strings;
}

TensorPointer to_tensorflow(const HostTensor& host) {
  const int rank = static_cast<int>(host.dims.size());
  if (host.type == "string") {
    const std::size_t count = host.strings.size();
    auto* strings = new TF_TString[count];
    for (std::size_t i = 0; i < count; ++i) {
      TF_TString_Init(&strings[i]);
      TF_TString_Copy(&strings[i], host.strings[i].data(), host.strings[i].size());
    }
    return TensorPointer(TF_NewTensor(TF_STRING, host.dims.data(), rank, strings,
                                      count * sizeof(TF_TString), free_strings, nullptr));
  }
  TensorPointer tensor(
      TF_AllocateTensor(data_type(host.type), host.dims.data(), rank, host.bytes.size()));
  std::memcpy(TF_TensorData(tensor.get()), host.bytes.data(), host.bytes.size());
  return tensor;
}

HostTensor to_host(const TF_Tensor* tensor) {
  HostTensor host;
  host.type = type_name(TF_TensorType(tensor));
  for (int i = 0; i < TF_NumDims(tensor); ++i) host.dims.push_back(TF_Dim(tensor, i));
  host.bytes.assign(static_cast<const char*>(TF_TensorData(tensor)), TF_TensorByteSize(tensor));
  return host;
}

class CApiServable : public Servable {
 public:
  explicit CApiServable(const LoadOptions& options)
      : signatures_(read_signatures(options.requests)), graph_(TF_NewGraph()) {
    const StatusPointer status(TF_NewStatus());
    library_ = TF_LoadLibrary(options.library.c_str(), status.get());
    require_ok(status.get(), "TF_LoadLibrary");
    TF_SessionOptions* session_options = TF_NewSessionOptions();
    const char* const tags[] = {"serve"};
    session_ = TF_LoadSessionFromSavedModel(session_options, nullptr, options.saved_model.c_str(),
                                            tags, 1, graph_, nullptr, status.get());
    TF_DeleteSessionOptions(session_options);
    require_ok(status.get(), "TF_LoadSessionFromSavedModel");
  }

  ~CApiServable() override {
    const StatusPointer status(TF_NewStatus());
    TF_CloseSession(session_, status.get());
    TF_DeleteSession(session_, status.get());
    TF_DeleteGraph(graph_);
    TF_DeleteLibraryHandle(library_);
  }

  std::string run(const Request& request, Tensors* outputs) const override {
    const auto found = signatures_.find(request.signature);
    if (found == signatures_.end()) return "no signature " + request.signature;
    std::vector<TF_Output> feeds, fetches;
    std::vector<TensorPointer> fed;
    std::vector<TF_Tensor*> feed_values;
    for (const auto& [name, tensor] : request.inputs) {
      const auto input = found->second.inputs.find(name);
      if (input == found->second.inputs.end()) return "no input " + name;
      feeds.push_back(output(input->second));
      fed.push_back(to_tensorflow(tensor));
      feed_values.push_back(fed.back().get());
    }
    for (const auto& [name, tensor] : found->second.outputs) fetches.push_back(output(tensor));
    std::vector<TF_Tensor*> fetched(fetches.size(), nullptr);
    const StatusPointer status(TF_NewStatus());
    TF_SessionRun(session_, nullptr, feeds.data(), feed_values.data(),
                  static_cast<int>(feeds.size()), fetches.data(), fetched.data(),
                  static_cast<int>(fetches.size()), nullptr, 0, nullptr, status.get());
    std::size_t i = 0;
    for (const auto& [name, tensor] : found->second.outputs) {
      const TensorPointer owned(fetched[i++]);
      if (owned) (*outputs)[name] = to_host(owned.get());
    }
    return TF_GetCode(status.get()) == TF_OK ? "" : TF_Message(status.get());
  }

 private:
  static void require_ok(const TF_Status* status, const std::string& what) {
    if (TF_GetCode(status) != TF_OK) fail(what + ": " + TF_Message(status));
  }

  // The output of an operation with a name such as `StatefulPartitionedCall:1`.
  TF_Output output(const std::string& name) const {
    const std::size_t colon = name.rfind(':');
    TF_Operation* operation = TF_GraphOperationByName(graph_, name.substr(0, colon).c_str());
    if (operation == nullptr) fail("the graph has no operation for " + name);
    return {operation, std::stoi(name.substr(colon + 1))};
  }

  std::map<std::string, Signature> signatures_;
  TF_Graph* graph_;
  TF_Library* library_;
  TF_Session* session_;
};

}  // namespace

std::unique_ptr<Servable> load_servable(const LoadOptions& options) {
  return std::make_unique<CApiServable>(options);
}
