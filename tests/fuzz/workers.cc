// Starts, watches and restarts the processes of the fuzzer.
#include "workers.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "problem.h"
#include "properties.h"

namespace boxconv {
namespace fuzz {
namespace {

constexpr std::int64_t kMaxFailures = 10;
constexpr unsigned kMaxSeconds = 300;  // a problem that takes longer has failed
constexpr char kInstructionSetVariable[] = "TF_BOXCONV_ISA";

double now() {
  using Seconds = std::chrono::duration<double>;
  return Seconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename T>
T* share_memory() {
  void* memory =
      mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("fuzz: mmap");
    std::exit(2);
  }
  return new (memory) T();
}

// Runs body() in a new process, with the given instruction set.
template <typename Body>
pid_t start_process(const std::string& set, const Body& body) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0) {
    std::perror("fuzz: fork");
    std::exit(2);
  }
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // end with the parent process
  setenv(kInstructionSetVariable, set.c_str(), 1);
  body();
  std::exit(0);  // not _exit: the leak sanitizer checks at exit
}

// Prints everything with one call, so that the lines of several processes do not mix.
void print_failure(const std::string& text, std::uint64_t seed) {
  std::fprintf(stderr, "FAILED %s\n  replay: make fuzz SEED=0x%016" PRIx64 "\n", text.c_str(),
               seed);
}

void check_seed(std::uint64_t seed, std::size_t set, int process, bool verbose,
                Progress* progress) {
  progress->current_seeds[process] = seed;
  alarm(kMaxSeconds);
  const Problem problem = make_problem(seed);
  if (verbose) std::printf("%s\n", describe(problem, true).c_str());
  const Report report = check(problem);
  alarm(0);
  progress->values += report.values;
  ++progress->problems[set];
  if (report.failures.empty()) return;
  ++progress->failures;
  std::string text = describe(problem) + ", " + instruction_set();
  for (const std::string& failure : report.failures) text += "\n  " + failure;
  print_failure(text, seed);
}

// Reports a process that crashed or was killed.
void check_exit(int status, std::uint64_t seed, const std::string& set, Progress* progress) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  ++progress->failures;
  const std::string how = WIFSIGNALED(status)
                              ? "signal " + std::to_string(WTERMSIG(status))
                              : "exit status " + std::to_string(WEXITSTATUS(status));
  print_failure(describe(make_problem(seed)) + ", " + set + "\n  the process ended with " + how,
                seed);
}

void print_progress(double started, std::uint64_t first_seed, const Progress& progress) {
  const auto problems = static_cast<double>(progress.all_problems());
  const double seconds = now() - started;
  std::printf("%6.0f s: %.0f problems (%.0f a second), seeds 0x%016" PRIx64
              " and following, %lld failures\n",
              seconds, problems, problems / seconds, first_seed,
              static_cast<long long>(progress.failures));
  std::fflush(stdout);
}

struct Worker {
  pid_t pid = 0;
  std::size_t set = 0;
};

}  // namespace

std::int64_t Progress::all_problems() const {
  std::int64_t sum = 0;
  for (const auto& count : problems) sum += count;
  return sum;
}

Progress* share_progress() { return share_memory<Progress>(); }

std::vector<std::string> instruction_sets() {
  if (const char* chosen = std::getenv(kInstructionSetVariable)) return {chosen};
  struct Name {
    char text[32];
  };
  Name* name = share_memory<Name>();
  std::vector<std::string> sets;
  for (const char* widest : {"avx512", "avx2", "baseline"}) {
    const pid_t pid = start_process(
        widest, [&] { std::snprintf(name->text, sizeof(name->text), "%s", instruction_set()); });
    waitpid(pid, nullptr, 0);
    if (std::find(sets.begin(), sets.end(), name->text) == sets.end()) sets.push_back(name->text);
  }
  return sets;
}

void check_for(double seconds, int processes, const std::vector<std::string>& sets,
               Progress* progress) {
  const double started = now(), end = started + seconds;
  // Each instruction set gets several turns, even with a single process.
  const double turn = std::clamp(seconds / (2.0 * static_cast<double>(sets.size())), 1.0, 60.0);
  const std::uint64_t first_seed = progress->next_seed;
  std::vector<Worker> workers(static_cast<std::size_t>(processes));
  std::size_t next_set = 0;
  double next_line = started + 10;
  const auto start = [&](Worker* worker) {
    const int process = static_cast<int>(worker - workers.data());
    const double until = std::min(end, now() + turn);
    worker->set = next_set++ % sets.size();
    worker->pid = start_process(sets[worker->set], [&] {
      while (now() < until && progress->failures < kMaxFailures) {
        check_seed(progress->next_seed++, worker->set, process, false, progress);
      }
    });
  };
  for (Worker& worker : workers) start(&worker);
  while (std::any_of(workers.begin(), workers.end(), [](const Worker& w) { return w.pid != 0; })) {
    for (Worker& worker : workers) {
      int status = 0;
      if (worker.pid == 0 || waitpid(worker.pid, &status, WNOHANG) == 0) continue;
      check_exit(status, progress->current_seeds[&worker - workers.data()], sets[worker.set],
                 progress);
      worker.pid = 0;
      if (now() < end && progress->failures < kMaxFailures) start(&worker);
    }
    if (now() >= next_line) {
      print_progress(started, first_seed, *progress);
      next_line += 10;
    }
    usleep(100000);
  }
}

void check_one(std::uint64_t seed, const std::vector<std::string>& sets, Progress* progress) {
  for (std::size_t set = 0; set < sets.size(); ++set) {
    const pid_t pid =
        start_process(sets[set], [&] { check_seed(seed, set, 0, set == 0, progress); });
    int status = 0;
    waitpid(pid, &status, 0);
    check_exit(status, seed, sets[set], progress);
  }
}

}  // namespace fuzz
}  // namespace boxconv
