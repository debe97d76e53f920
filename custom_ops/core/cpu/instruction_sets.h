// The instruction sets for which the kernels are compiled (see simd.h). CMakeLists.txt and BUILD
// list their compiler options.
#ifndef BOXCONV_CORE_CPU_INSTRUCTION_SETS_H_
#define BOXCONV_CORE_CPU_INSTRUCTION_SETS_H_

// Expands to X(ISA) for each instruction set. BOXCONV_HAS_X86 is defined on x86-64.
#ifdef BOXCONV_HAS_X86
#define BOXCONV_FOR_EACH_ISA(X) X(baseline) X(avx2) X(avx512)
#else
#define BOXCONV_FOR_EACH_ISA(X) X(baseline)
#endif

namespace boxconv {

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// The widest instruction set that the processor has, unless the environment variable TF_BOXCONV_ISA
// names a narrower one.
InstructionSet chosen_instruction_set();

// Calls a kernel that is compiled for the chosen instruction set.
#ifdef BOXCONV_HAS_X86
#define BOXCONV_RUN_KERNEL(call)                                      \
  (chosen_instruction_set() == InstructionSet::kAvx512 ? avx512::call \
   : chosen_instruction_set() == InstructionSet::kAvx2 ? avx2::call   \
                                                       : baseline::call)
#else
#define BOXCONV_RUN_KERNEL(call) (baseline::call)
#endif

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_INSTRUCTION_SETS_H_
