// Processes that check problems. Each process uses one instruction set, because core chooses its
// instruction set only once.
#ifndef BOXCONV_TESTS_FUZZ_WORKERS_H_
#define BOXCONV_TESTS_FUZZ_WORKERS_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "core.h"

namespace boxconv {
namespace fuzz {

constexpr int kMaxProcesses = 256, kMaxInstructionSets = 8;

// Counters in memory that all processes share.
struct Progress {
  std::atomic<std::uint64_t> next_seed;
  std::atomic<std::int64_t> values, failures;
  std::atomic<std::int64_t> problems[kMaxInstructionSets];  // by instruction set
  std::atomic<std::uint64_t> current_seeds[kMaxProcesses];  // by process

  std::int64_t all_problems() const;
};

Progress* share_progress();

// The instruction sets of this machine, or the one that the environment variable TF_BOXCONV_ISA
// names.
std::vector<std::string> instruction_sets();

// Checks the problems of consecutive seeds from `progress->next_seed` on, in `processes` processes,
// and prints the progress. Stops after `seconds`, or after 10 failures.
void check_for(double seconds, int processes, const std::vector<std::string>& sets,
               Progress* progress);

// Prints one problem, and checks it with each instruction set.
void check_one(std::uint64_t seed, const std::vector<std::string>& sets, Progress* progress);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_WORKERS_H_
