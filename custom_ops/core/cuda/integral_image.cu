// Integral images on a CUDA device.
#include "core/base/dispatch.h"
#include "core/cuda/box_conv.h"
#include "core/cuda/device.cuh"
#include "core/cuda/integral_image.cuh"

namespace boxconv {
namespace cuda {

namespace {

// Returns an error unless 32-bit positions are enough for the table, which has one row and one
// column more than the image.
Status check(const IntegralImageProblem& p) {
  const bool fits = planes_fit(p.height + 1, p.width + 1, p.channels);
  return fits ? Status() : Status(kPlanesTooLarge);
}

}  // namespace

template <typename T, typename TTable>
Status integral_image_workspace(const IntegralImageProblem& problem, std::size_t* bytes) {
  if (const Status status = check(problem); !status.ok()) return status;
  *bytes = 0;
  return Status();
}

template <typename T, typename TTable>
Status integral_image(const IntegralImageProblem& problem, const T* input, TTable* table,
                      void* workspace, void* stream) {
  if (const Status status = check(problem); !status.ok()) return status;
  Device device(stream);
  if (!device.ok()) return device.status();
  launch_integral_image(device, problem, input, table);
  return device.status();
}

#define INSTANTIATE(T, TTable)                                                                     \
  template Status integral_image_workspace<T, TTable>(const IntegralImageProblem&, std::size_t*);  \
  template Status integral_image<T, TTable>(const IntegralImageProblem&, const T*, TTable*, void*, \
                                            void*);
BOXCONV_FOR_EACH_TABLE_TYPE(INSTANTIATE)
#undef INSTANTIATE

}  // namespace cuda
}  // namespace boxconv
