// Requests in files: what `examples.serving.request_files` writes for the loaders to send.
//
//   signatures/NAME/inputs/INPUT       the graph tensor that is the input, as in `serving:0`
//   signatures/NAME/outputs/OUTPUT     likewise
//   requests/NAME/signature            the signature to call
//   requests/NAME/inputs/INPUT         a tensor
//   requests/NAME/outputs/OUTPUT       the right answer; without any, the request must be refused
//
// A tensor is a line with its type and dimensions, such as `uint8 1 61 140 3`, and then its bytes;
// each string is a line with its length and then its bytes.
#ifndef BOXCONV_EXAMPLES_SERVING_LOADER_REQUEST_H_
#define BOXCONV_EXAMPLES_SERVING_LOADER_REQUEST_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct HostTensor {
  std::string type;
  std::vector<std::int64_t> dims;
  std::string bytes;                 // of numbers
  std::vector<std::string> strings;  // or these

  std::int64_t elements() const;
};

using Tensors = std::map<std::string, HostTensor>;

struct Request {
  std::string name, signature;
  Tensors inputs, outputs;

  bool must_be_refused() const { return outputs.empty(); }
};

struct Signature {
  std::map<std::string, std::string> inputs, outputs;  // the graph's names for them
};

// All read the folder described above and exit with a message if it is not so.
std::vector<Request> read_requests(const std::string& folder);
std::map<std::string, Signature> read_signatures(const std::string& folder);

// Ends the program: the example's answer to a mistake in how it was called.
[[noreturn]] void fail(const std::string& message);

#endif  // BOXCONV_EXAMPLES_SERVING_LOADER_REQUEST_H_
