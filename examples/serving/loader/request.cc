// Reads the folder of requests that request.h describes.
#include "request.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

namespace {

namespace fs = std::filesystem;

std::ifstream open(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(path.string() + " cannot be read");
  return file;
}

std::string read_word(const fs::path& path) {
  std::string word;
  open(path) >> word;
  return word;
}

std::string read_bytes(std::ifstream& file, std::size_t count) {
  std::string bytes(count, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(count));
  if (!file) fail("a tensor's file is shorter than its first line says");
  return bytes;
}

std::size_t element_size(const std::string& type) {
  if (type == "uint8" || type == "bool") return 1;
  if (type == "int32" || type == "float32") return 4;
  fail("tensors of type " + type + " are not known here");
}

HostTensor read_tensor(const fs::path& path) {
  std::ifstream file = open(path);
  std::string line;
  std::getline(file, line);
  std::istringstream header(line);
  HostTensor tensor;
  header >> tensor.type;
  for (std::int64_t dim; header >> dim;) tensor.dims.push_back(dim);
  if (tensor.type != "string") {
    tensor.bytes = read_bytes(file, tensor.elements() * element_size(tensor.type));
    return tensor;
  }
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    std::getline(file, line);
    tensor.strings.push_back(read_bytes(file, std::stoul(line)));
  }
  return tensor;
}

template <typename Value, typename Read>
std::map<std::string, Value> read_folder(const fs::path& folder, Read read) {
  std::map<std::string, Value> values;
  if (!fs::is_directory(folder)) return values;
  for (const auto& entry : fs::directory_iterator(folder)) {
    values.emplace(entry.path().filename().string(), read(entry.path()));
  }
  return values;
}

}  // namespace

std::int64_t HostTensor::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t dim : dims) count *= dim;
  return count;
}

std::vector<Request> read_requests(const std::string& folder) {
  const auto read = [](const fs::path& path) {
    return Request{path.filename().string(), read_word(path / "signature"),
                   read_folder<HostTensor>(path / "inputs", read_tensor),
                   read_folder<HostTensor>(path / "outputs", read_tensor)};
  };
  std::vector<Request> requests;
  for (auto& [name, request] : read_folder<Request>(fs::path(folder) / "requests", read)) {
    requests.push_back(request);
  }
  if (requests.empty()) fail("there are no requests in " + folder);
  return requests;
}

std::map<std::string, Signature> read_signatures(const std::string& folder) {
  return read_folder<Signature>(fs::path(folder) / "signatures", [](const fs::path& path) {
    return Signature{read_folder<std::string>(path / "inputs", read_word),
                     read_folder<std::string>(path / "outputs", read_word)};
  });
}

void fail(const std::string& message) {
  std::cerr << "error: " << message << std::endl;
  std::_Exit(2);  // without destructors, since other threads may be running
}
