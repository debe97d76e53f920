// CUDA keywords and intrinsics for a machine without a GPU. Each thread of a block is a fibre (a
// stack of its own in one operating system thread), and blocks run one after another.
//
// The emulation makes mistakes visible. Each fibre runs until it waits at a barrier. Fibres take
// turns in ascending order in one block and in descending order in the next, so a missing barrier
// changes the results of one of them. Shared memory has exactly the requested size, so the address
// sanitizer notices accesses outside. It is filled with NaNs in one block, and in the next with
// about 49, which is not noticed as NaNs are. So values that were never written show in the
// results.
#ifndef BOXCONV_TESTS_CORE_CUDA_EMULATION_H_
#define BOXCONV_TESTS_CORE_CUDA_EMULATION_H_

#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __launch_bounds__(threads)

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};
inline Dim threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_emulation {

constexpr int kWarp = 32;
// The address sanitizer clears its notes on the whole stack at each switch, so stacks are small.
constexpr std::size_t kStackBytes = 64 << 10;

// A thread block, and the scheduler of its fibres.
class Block {
 public:
  static Block*& current() {
    static Block* block = nullptr;
    return block;
  }

  // Runs body() once in each fibre. The next call uses the same stacks.
  void run(int threads, std::size_t shared_bytes, bool backwards,
           const std::function<void()>& body) {
    shared_.reset(static_cast<char*>(std::malloc(shared_bytes + 1)));
    std::memset(shared_.get(), backwards ? 0x42 : 0xff, shared_bytes);
    body_ = &body;
    copies_.clear();
    backwards_ = backwards;
    fibres_.resize(threads);
    while (static_cast<int>(stacks_.size()) < threads) {
      stacks_.emplace_back(new char[kStackBytes]);
    }
    current() = this;
    for (int i = 0; i < threads; ++i) start(i);
    while (!all(0, threads, State::kDone)) {
      const bool progress = run_ready(threads);
      if (!progress && !release(threads)) fail("threads wait at different barriers");
    }
  }

  void* shared() const { return shared_.get(); }

  // Asynchronous copies arrive when the thread waits for them.
  void copy_later(void* to, const void* from, std::size_t bytes) {
    copies_.push_back({running_, to, from, bytes});
  }
  void finish_copies() {
    for (const Copy& copy : copies_) {
      if (copy.thread == running_) std::memcpy(copy.to, copy.from, copy.bytes);
    }
    const auto is_mine = [this](const Copy& copy) { return copy.thread == running_; };
    copies_.erase(std::remove_if(copies_.begin(), copies_.end(), is_mine), copies_.end());
  }

  void wait_for_block() { wait(State::kAtBlock); }
  void wait_for_warp() { wait(State::kAtWarp); }

  // Collects `value` from all lanes of the warp, then returns body(value_of_lane).
  template <typename V, typename Body>
  auto exchange(V value, const Body& body) {
    static_assert(sizeof(V) <= sizeof(Exchanged), "a shuffle moves at most 8 bytes");
    exchanged_.resize(fibres_.size());
    Exchanged* of_warp = exchanged_.data() + running_ / kWarp * kWarp;
    std::memcpy(of_warp + running_ % kWarp, &value, sizeof(V));
    wait_for_warp();
    const auto result = body([of_warp](int lane) {
      V taken;
      std::memcpy(&taken, of_warp + lane, sizeof(V));
      return taken;
    });
    wait_for_warp();
    return result;
  }

 private:
  using Exchanged = double;
  struct Copy {
    int thread;
    void* to;
    const void* from;
    std::size_t bytes;
  };
  enum class State { kReady, kAtWarp, kAtBlock, kDone };
  struct Fibre {
    ucontext_t context;
    State state;
  };
  struct Free {
    void operator()(char* data) const { std::free(data); }
  };

  [[noreturn]] static void fail(const char* what) {
    std::fprintf(stderr, "FAILED: %s\n", what);
    std::abort();
  }

  static void enter() {
    Block* block = current();
    (*block->body_)();
    block->fibres_[block->running_].state = State::kDone;
    swapcontext(&block->fibres_[block->running_].context, &block->scheduler_);
  }

  void start(int i) {
    Fibre& fibre = fibres_[i];
    fibre.state = State::kReady;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = stacks_[i].get();
    fibre.context.uc_stack.ss_size = kStackBytes;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, enter, 0);
  }

  void wait(State state) {
    Fibre& fibre = fibres_[running_];
    fibre.state = state;
    swapcontext(&fibre.context, &scheduler_);
  }

  bool run_ready(int threads) {
    bool progress = false;
    for (int step = 0; step < threads; ++step) {
      const int i = backwards_ ? threads - 1 - step : step;
      if (fibres_[i].state != State::kReady) continue;
      progress = true;
      running_ = i;
      threadIdx.x = static_cast<unsigned>(i);
      swapcontext(&scheduler_, &fibres_[i].context);
    }
    return progress;
  }

  // Releases each barrier at which all unfinished threads of a warp, or of the block, wait. Returns
  // false if there is none.
  bool release(int threads) {
    bool progress = false;
    for (int warp = 0; warp < threads; warp += kWarp) {
      progress |= release(warp, warp + kWarp < threads ? warp + kWarp : threads, State::kAtWarp);
    }
    return progress || release(0, threads, State::kAtBlock);
  }

  bool release(int begin, int end, State state) {
    bool any = false;
    for (int i = begin; i < end; ++i) {
      if (fibres_[i].state != state && fibres_[i].state != State::kDone) return false;
      any |= fibres_[i].state == state;
    }
    for (int i = begin; i < end; ++i) {
      if (fibres_[i].state == state) fibres_[i].state = State::kReady;
    }
    return any;
  }

  bool all(int begin, int end, State state) const {
    for (int i = begin; i < end; ++i) {
      if (fibres_[i].state != state) return false;
    }
    return true;
  }

  std::unique_ptr<char, Free> shared_;
  const std::function<void()>* body_ = nullptr;
  bool backwards_ = false;
  std::vector<Fibre> fibres_;
  std::vector<std::unique_ptr<char[]>> stacks_;
  std::vector<Exchanged> exchanged_;
  std::vector<Copy> copies_;
  ucontext_t scheduler_;
  int running_ = 0;
};

inline void* dynamic_shared() { return Block::current()->shared(); }
inline void copy_later(void* to, const void* from, std::size_t bytes) {
  Block::current()->copy_later(to, from, bytes);
}
inline void finish_copies() { Block::current()->finish_copies(); }

template <typename Kernel, typename... Arguments>
void launch(Kernel kernel, int blocks, int threads, std::size_t shared_bytes,
            const Arguments&... arguments) {
  static Block block;
  gridDim = {static_cast<unsigned>(blocks), 1, 1};
  blockDim = {static_cast<unsigned>(threads), 1, 1};
  for (int i = 0; i < blocks; ++i) {
    // Blocks run in an order that kernels cannot rely on: from both ends to the middle.
    const int block_index = i % 2 == 0 ? i / 2 : blocks - 1 - i / 2;
    blockIdx.x = static_cast<unsigned>(block_index);
    block.run(threads, shared_bytes, i % 2 == 1, [&] { kernel(arguments...); });
  }
}

}  // namespace cuda_emulation

inline void __syncthreads() { cuda_emulation::Block::current()->wait_for_block(); }
inline void __syncwarp() { cuda_emulation::Block::current()->wait_for_warp(); }

template <typename V>
V __shfl_sync(unsigned, V value, int lane) {
  return cuda_emulation::Block::current()->exchange(value, [&](auto of) { return of(lane); });
}
inline unsigned long long __brevll(unsigned long long bits) {
  unsigned long long reversed = 0;
  for (int i = 0; i < 64; ++i) reversed |= (bits >> i & 1) << (63 - i);
  return reversed;
}
inline int __any_sync(unsigned, int condition) {
  return cuda_emulation::Block::current()->exchange(condition, [](auto of) {
    int any = 0;
    for (int lane = 0; lane < cuda_emulation::kWarp; ++lane) any |= of(lane);
    return any;
  });
}

#endif  // BOXCONV_TESTS_CORE_CUDA_EMULATION_H_
