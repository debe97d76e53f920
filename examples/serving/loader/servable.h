// A loaded SavedModel that answers requests, from any number of threads at once.
#ifndef BOXCONV_EXAMPLES_SERVING_LOADER_SERVABLE_H_
#define BOXCONV_EXAMPLES_SERVING_LOADER_SERVABLE_H_

#include <memory>
#include <string>

#include "request.h"

class Servable {
 public:
  virtual ~Servable() = default;

  // Answers into `outputs`, or returns why not; the empty string means that it was answered.
  virtual std::string run(const Request& request, Tensors* outputs) const = 0;
};

struct LoadOptions {
  std::string library;      // of the box operators
  std::string saved_model;  // folder
  std::string requests;     // folder, as request.h describes it
};

// Each program is linked with one: through `tensorflow::LoadSavedModel` or through the C API.
std::unique_ptr<Servable> load_servable(const LoadOptions& options);

#endif  // BOXCONV_EXAMPLES_SERVING_LOADER_SERVABLE_H_
