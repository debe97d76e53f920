// A loaded SavedModel that answers requests. Any number of threads may call it at the same time.
#ifndef BOXCONV_EXAMPLES_SERVING_LOADER_SERVABLE_H_
#define BOXCONV_EXAMPLES_SERVING_LOADER_SERVABLE_H_

#include <memory>
#include <string>

#include "request.h"

class Servable {
 public:
  virtual ~Servable() = default;

  // Sets `outputs` to the answer. Returns an error message, or an empty string on success.
  virtual std::string run(const Request& request, Tensors* outputs) const = 0;
};

struct LoadOptions {
  std::string library;      // of the box operators
  std::string saved_model;  // folder
  std::string requests;     // folder, as request.h describes it
};

// Each program links one implementation: with `tensorflow::LoadSavedModel` or with the C API.
std::unique_ptr<Servable> load_servable(const LoadOptions& options);

#endif  // BOXCONV_EXAMPLES_SERVING_LOADER_SERVABLE_H_
