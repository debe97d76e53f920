// A program that links the op library in and names nothing of it finds its ops and CPU kernels.
#include <iostream>
#include <set>
#include <string>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"

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
    std::set<tensorflow::DataType> types;
    const tensorflow::KernelList kernels = tensorflow::GetRegisteredKernelsForOp(op);
    for (const auto& kernel : kernels.kernel()) {
      if (kernel.device_type() != tensorflow::DEVICE_CPU) continue;
      for (const auto& constraint : kernel.constraint()) {
        if (constraint.name() != "T") continue;
        types.insert(static_cast<tensorflow::DataType>(constraint.allowed_values().list().type(0)));
      }
    }
    const std::set<tensorflow::DataType> wanted{tensorflow::DT_HALF, tensorflow::DT_BFLOAT16,
                                                tensorflow::DT_FLOAT, tensorflow::DT_DOUBLE};
    if (types != wanted) {
      std::cerr << op << " has CPU kernels for " << types.size() << " types, not for four\n";
      return 1;
    }
  }
  std::cout << "ops and kernels are registered\n";
}
