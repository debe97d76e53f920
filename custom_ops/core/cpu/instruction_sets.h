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

#endif  // BOXCONV_CORE_CPU_INSTRUCTION_SETS_H_
