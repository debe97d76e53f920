// Loads a model with `tensorflow::LoadSavedModel`, as TensorFlow ModelServer does.
#include <dlfcn.h>

#include <cstring>
#include <utility>
#include <vector>

#include "servable.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/public/session.h"

namespace {

using tensorflow::DataType;
using tensorflow::Tensor;
using tensorflow::TensorShape;

DataType data_type(const std::string& type) {
  if (type == "uint8") return tensorflow::DT_UINT8;
  if (type == "int32") return tensorflow::DT_INT32;
  if (type == "float32") return tensorflow::DT_FLOAT;
  return tensorflow::DT_STRING;
}

std::string type_name(DataType type) {
  if (type == tensorflow::DT_FLOAT) return "float32";
  return type == tensorflow::DT_BOOL ? "bool" : "other";
}

Tensor to_tensorflow(const HostTensor& host) {
  Tensor tensor(data_type(host.type), TensorShape(host.dims));
  if (tensor.dtype() == tensorflow::DT_STRING) {
    auto strings = tensor.flat<tensorflow::tstring>();
    for (std::size_t i = 0; i < host.strings.size(); ++i) strings(i) = host.strings[i];
  } else {
    std::memcpy(tensor.data(), host.bytes.data(), host.bytes.size());
  }
  return tensor;
}

HostTensor to_host(const Tensor& tensor) {
  const auto dims = tensor.shape().dim_sizes();
  return {
      type_name(tensor.dtype()), {dims.begin(), dims.end()}, std::string(tensor.tensor_data()), {}};
}

class SavedModelServable : public Servable {
 public:
  explicit SavedModelServable(const std::string& folder) {
    const auto status = tensorflow::LoadSavedModel({}, {}, folder, {"serve"}, &bundle_);
    if (!status.ok()) fail("LoadSavedModel: " + status.ToString());
  }

  std::string run(const Request& request, Tensors* outputs) const override {
    const auto found = bundle_.GetSignatures().find(request.signature);
    if (found == bundle_.GetSignatures().end()) return "no signature " + request.signature;
    std::vector<std::pair<std::string, Tensor>> feeds;
    for (const auto& [name, tensor] : request.inputs) {
      const auto input = found->second.inputs().find(name);
      if (input == found->second.inputs().end()) return "no input " + name;
      feeds.emplace_back(input->second.name(), to_tensorflow(tensor));
    }
    std::vector<std::string> names, fetches;
    for (const auto& [name, info] : found->second.outputs()) {
      names.push_back(name);
      fetches.push_back(info.name());
    }
    std::vector<Tensor> fetched;
    const auto status = bundle_.GetSession()->Run(feeds, fetches, {}, &fetched);
    if (!status.ok()) return status.ToString();
    for (std::size_t i = 0; i < names.size(); ++i) (*outputs)[names[i]] = to_host(fetched[i]);
    return "";
  }

 private:
  tensorflow::SavedModelBundle bundle_;
};

}  // namespace

std::unique_ptr<Servable> load_servable(const LoadOptions& options) {
  // The library registers the ops when it is opened. (Servers have the ops linked in.)
  if (dlopen(options.library.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) fail(dlerror());
  return std::make_unique<SavedModelServable>(options.saved_model);
}
