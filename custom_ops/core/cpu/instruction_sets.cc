// Chooses the instruction set.
#include "core/cpu/instruction_sets.h"

#include <cstdlib>
#include <cstring>
#ifdef BOXCONV_HAS_X86
#include <cpuid.h>
#endif

#include "core/cpu/box_conv.h"

namespace boxconv {
namespace {

#ifdef BOXCONV_HAS_X86
// Whether the processor converts halves. Older compilers do not know "f16c" in
// __builtin_cpu_supports.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

// The widest instruction set that the processor has, unless TF_BOXCONV_ISA names a narrower one.
InstructionSet detect_instruction_set() {
#ifdef BOXCONV_HAS_X86
  const char* requested = std::getenv("TF_BOXCONV_ISA");
  const auto requests = [requested](const char* name) {
    return requested != nullptr && std::strcmp(requested, name) == 0;
  };
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  if (requests("baseline") || !avx2) return InstructionSet::kBaseline;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return avx512 && !requests("avx2") ? InstructionSet::kAvx512 : InstructionSet::kAvx2;
#else
  return InstructionSet::kBaseline;
#endif
}

}  // namespace

InstructionSet chosen_instruction_set() {
  static const InstructionSet chosen = detect_instruction_set();
  return chosen;
}

const char* instruction_set() {
  switch (chosen_instruction_set()) {
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    default:
      return "baseline";
  }
}

}  // namespace boxconv
