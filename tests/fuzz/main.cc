// The fuzzer: checks core on random and hostile problems for a given time. `make fuzz` runs it.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "workers.h"

namespace {

using boxconv::fuzz::Progress;

constexpr char kUsage[] =
    "usage: fuzz [--minutes N] [--processes N] [--first_seed N]\n"
    "       fuzz --seed N     checks only the problem of this seed, and prints it\n";

struct Options {
  double minutes = 1;
  int processes = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::uint64_t first_seed = 0;
  bool single_problem = false;  // only the problem of first_seed
};

[[noreturn]] void exit_with_usage(const char* argument) {
  std::fprintf(stderr, "fuzz: cannot use %s\n%s", argument, kUsage);
  std::exit(2);
}

std::uint64_t random_seed() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

Options parse(int count, char** arguments) {
  Options options;
  options.first_seed = random_seed();
  for (int i = 1; i < count; i += 2) {
    const char* name = arguments[i];
    const char* value = i + 1 < count ? arguments[i + 1] : "";
    char* rest = nullptr;
    if (std::strcmp(name, "--minutes") == 0) {
      options.minutes = std::strtod(value, &rest);
    } else if (std::strcmp(name, "--processes") == 0) {
      options.processes = static_cast<int>(std::strtol(value, &rest, 10));
    } else if (std::strcmp(name, "--first_seed") == 0 || std::strcmp(name, "--seed") == 0) {
      options.first_seed = std::strtoull(value, &rest, 0);
      options.single_problem = options.single_problem || std::strcmp(name, "--seed") == 0;
    } else {
      exit_with_usage(name);
    }
    if (*value == '\0' || *rest != '\0') exit_with_usage(name);
  }
  if (!(options.minutes > 0)) exit_with_usage("--minutes: it must be positive");
  if (options.processes < 1 || options.processes > boxconv::fuzz::kMaxProcesses) {
    exit_with_usage("--processes: it must be from 1 to 256");
  }
  return options;
}

void print_summary(std::uint64_t first_seed, const std::vector<std::string>& sets,
                   const Progress& progress) {
  std::printf("fuzz: %lld problems, %lld values compared, seeds 0x%016" PRIx64 " to 0x%016" PRIx64
              ", %lld failures;",
              static_cast<long long>(progress.all_problems()),
              static_cast<long long>(progress.values), first_seed, progress.next_seed - 1,
              static_cast<long long>(progress.failures));
  for (std::size_t i = 0; i < sets.size(); ++i) {
    std::printf(" %s %lld", sets[i].c_str(), static_cast<long long>(progress.problems[i]));
  }
  std::printf("\n");
}

}  // namespace

// Fill new memory with NaNs, so that reading uninitialised memory does not yield zeros by chance.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "max_malloc_fill_size=1000000000:malloc_fill_byte=255:quarantine_size_mb=4:"
         "malloc_context_size=4";
}
extern "C" __attribute__((visibility("default"))) const char* __ubsan_default_options() {
  return "print_stacktrace=1";
}

int main(int count, char** arguments) {
  const Options options = parse(count, arguments);
  const std::vector<std::string> sets = boxconv::fuzz::instruction_sets();
  Progress* progress = boxconv::fuzz::share_progress();
  if (options.single_problem) {
    boxconv::fuzz::check_one(options.first_seed, sets, progress);
    progress->next_seed = options.first_seed + 1;
  } else {
    std::printf("fuzz: %g minutes, %d processes, first seed 0x%016" PRIx64 "\n", options.minutes,
                options.processes, options.first_seed);
    progress->next_seed = options.first_seed;
    boxconv::fuzz::check_for(60 * options.minutes, options.processes, sets, progress);
  }
  print_summary(options.first_seed, sets, *progress);
  return progress->failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
