// Requests in files, as `examples.serving.request_files` writes them:
//
//   signatures/NAME/inputs/INPUT       name of the input tensor in the graph, such as `serving:0`
//   signatures/NAME/outputs/OUTPUT     name of the output tensor in the graph
//   requests/NAME/signature            name of the signature to call
//   requests/NAME/inputs/INPUT         a tensor
//   requests/NAME/outputs/OUTPUT       the expected tensor
//
// A request without outputs must be refused. A tensor is a line with its type and dimensions, such
// as `uint8 1 61 140 3`, followed by its bytes. Each string is a line with its length, followed by
// its bytes.
#ifndef BOXCONV_EXAMPLES_SERVING_LOADER_REQUEST_H_
#define BOXCONV_EXAMPLES_SERVING_LOADER_REQUEST_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct HostTensor {
  std::string type;
  std::vector<std::int64_t> dims;
  std::string bytes;                 // numbers
  std::vector<std::string> strings;  // if type is "string"

  std::int64_t elements() const;
};

using Tensors = std::map<std::string, HostTensor>;

struct Request {
  std::string name, signature;
  Tensors inputs, outputs;

  bool must_be_refused() const { return outputs.empty(); }
};

struct Signature {
  std::map<std::string, std::string> inputs, outputs;  // names of the tensors in the graph
};

// Read the folder described above. They end the program if a file is missing or wrong.
std::vector<Request> read_requests(const std::string& folder);
std::map<std::string, Signature> read_signatures(const std::string& folder);

// Prints an error message and ends the program.
[[noreturn]] void fail(const std::string& message);

#endif  // BOXCONV_EXAMPLES_SERVING_LOADER_REQUEST_H_
