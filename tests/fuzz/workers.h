// Processes that check problems: each under one instruction set, for core chooses it only once.
#ifndef BOXCONV_TESTS_FUZZ_WORKERS_H_
#define BOXCONV_TESTS_FUZZ_WORKERS_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "core.h"

namespace boxconv {
namespace fuzz {

constexpr int kMostProcesses = 256, kMostInstructionSets = 8;

// Lies in memory that all processes share.
struct Progress {
  std::atomic<std::uint64_t> next_seed;
  std::atomic<std::int64_t> values, failures;
  std::atomic<std::int64_t> problems[kMostInstructionSets];  // by instruction set
  std::atomic<std::uint64_t> current_seeds[kMostProcesses];  // by process

  std::int64_t all_problems() const;
};

Progress* share_progress();

// What this machine has, or what the environment's TF_BOXCONV_ISA says.
std::vector<std::string> instruction_sets();

// Checks problems of consecutive seeds from `progress->next_seed` on, on `processes` processes, for
// so many seconds or until some have failed. Prints progress.
void check_for(double seconds, int processes, const std::vector<std::string>& sets,
               Progress* progress);

// Checks one problem under each instruction set, and prints it.
void check_one(std::uint64_t seed, const std::vector<std::string>& sets, Progress* progress);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_WORKERS_H_
