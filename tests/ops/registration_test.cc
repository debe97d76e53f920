// A program that links the op library in and names nothing of it finds its ops and kernels: on the
// CPU of all ops, and on GPUs of those that have kernels there if BOXCONV_HAS_CUDA is defined.
#include <iostream>
#include <set>
#include <string>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace {

using Types = std::set<tensorflow::DataType>;

// The values of attribute T for which an op has kernels on a device.
Types types_of_kernels(const std::string& op, const std::string& device) {
  Types types;
  const tensorflow::KernelList kernels = tensorflow::GetRegisteredKernelsForOp(op);
  for (const auto& kernel : kernels.kernel()) {
    if (kernel.device_type() != device) continue;
    for (const auto& constraint : kernel.constraint()) {
      if (constraint.name() != "T") continue;
      types.insert(static_cast<tensorflow::DataType>(constraint.allowed_values().list().type(0)));
    }
  }
  return types;
}

bool has_kernels(const std::string& op, const std::string& device) {
  const Types types = types_of_kernels(op, device);
  const Types wanted{tensorflow::DT_HALF, tensorflow::DT_BFLOAT16, tensorflow::DT_FLOAT,
                     tensorflow::DT_DOUBLE};
  if (types == wanted) return true;
  std::cerr << op << " has kernels on " << device << " for " << types.size()
            << " types, not for four\n";
  return false;
}

}  // namespace

int main() {
  for (const std::string op :
       {"BoxConv>BoxConv2D", "BoxConv>BoxConv2DGrad", "BoxConv>SeparableBoxConv2D",
        "BoxConv>SeparableBoxConv2DGrad", "BoxConv>IntegralImage"}) {
    const tensorflow::OpDef* definition = nullptr;
    const auto status = tensorflow::OpRegistry::Global()->LookUpOpDef(op, &definition);
    if (!status.ok()) {
      std::cerr << status << std::endl;
      return 1;
    }
    if (!has_kernels(op, tensorflow::DEVICE_CPU)) return 1;
  }
#ifdef BOXCONV_HAS_CUDA
  for (const std::string op :
       {"BoxConv>BoxConv2D", "BoxConv>BoxConv2DGrad", "BoxConv>IntegralImage"}) {
    if (!has_kernels(op, tensorflow::DEVICE_GPU)) return 1;
  }
#endif
  std::cout << "ops and kernels are registered\n";
}
