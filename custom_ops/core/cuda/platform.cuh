// CUDA keywords and intrinsics. If nvcc is not the compiler, an emulation in tests/core defines
// them, so that the kernels also run on a machine without a GPU, one thread after another.
#ifndef BOXCONV_CORE_CUDA_PLATFORM_CUH_
#define BOXCONV_CORE_CUDA_PLATFORM_CUH_

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define BOXCONV_DEVICE __device__ __forceinline__
#define BOXCONV_PRAGMA(text) _Pragma(#text)
#define BOXCONV_UNROLL _Pragma("unroll")
#define BOXCONV_UNROLL_BY(count) BOXCONV_PRAGMA(unroll count)
#else
#include "cuda_emulation.h"
#define BOXCONV_DEVICE inline
#define BOXCONV_UNROLL
#define BOXCONV_UNROLL_BY(count)
#endif

#include <cstdint>

#include "core/base/half.h"
#include "core/base/platform.h"

namespace boxconv {
namespace cuda {

constexpr int kWarp = 32;
constexpr int kMaxThreads = 256;  // per block
constexpr int kPacketBytes = 16;  // the most that a thread loads or stores at once

// Neighbouring values of a tensor that a thread loads or stores with one instruction.
template <typename T>
constexpr int kPacket = kPacketBytes / static_cast<int>(sizeof(T));
template <typename T>
struct alignas(kPacketBytes) Packet {
  T values[kPacket<T>];
};

// The block's dynamic shared memory.
template <typename V>
BOXCONV_DEVICE V* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  return reinterpret_cast<V*>(shared_bytes);
#else
  return static_cast<V*>(cuda_emulation::dynamic_shared());
#endif
}

// Loads a value that no thread writes while the kernel runs. The compiler may then move the load
// ahead of stores.
template <typename T>
BOXCONV_DEVICE T load_constant(const T* value) {
#if defined(__CUDACC__)
  if constexpr (sizeof(T) == sizeof(unsigned short)) {
    return bit_cast<T>(__ldg(reinterpret_cast<const unsigned short*>(value)));
  } else {
    return __ldg(value);
  }
#else
  return *value;
#endif
}
template <typename T>
BOXCONV_DEVICE Packet<T> load_packet(const T* values) {
#if defined(__CUDACC__)
  return bit_cast<Packet<T>>(__ldg(reinterpret_cast<const uint4*>(values)));
#else
  return *reinterpret_cast<const Packet<T>*>(values);
#endif
}
// Converts kCount neighbours and stores them as packets, if `target` is aligned for packets.
// Returns whether it is.
template <int kCount, typename T, typename U>
BOXCONV_DEVICE bool store_packets(T* target, const U* values) {
  static_assert(kCount % kPacket<T> == 0, "only whole packets are stored");
  if (reinterpret_cast<std::uintptr_t>(target) % kPacketBytes != 0) return false;
  BOXCONV_UNROLL for (int i = 0; i < kCount; i += kPacket<T>) {
    Packet<T> packet;
    BOXCONV_UNROLL for (int k = 0; k < kPacket<T>; ++k) packet.values[k] =
        convert<T>(values[i + k]);
    *reinterpret_cast<Packet<T>*>(target + i) = packet;
  }
  return true;
}

// Starts to copy a packet to shared memory. The thread must call wait_for_copies() before the next
// barrier.
template <typename T>
BOXCONV_DEVICE void copy_packet(T* shared, const T* values) {
#if !defined(__CUDACC__)
  cuda_emulation::copy_later(shared, values, kPacketBytes);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(values) : "memory");
#else
  *reinterpret_cast<Packet<T>*>(shared) = load_packet(values);
#endif
}
BOXCONV_DEVICE void wait_for_copies() {
#if !defined(__CUDACC__)
  cuda_emulation::finish_copies();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_PLATFORM_CUH_
