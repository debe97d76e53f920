// Loads a SavedModel once and sends it requests from several threads. Prints one JSON object.
//
//   loader LIBRARY SAVED_MODEL REQUESTS THREADS SECONDS TOLERANCE
//
// Each thread sends each request once. Then all threads send requests until SECONDS have passed.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <iostream>
#include <thread>

#include "servable.h"
#include "tally.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double resident_mib() {
  long pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

void send(const Servable& servable, const Request& request, Tally* tally) {
  Tensors outputs;
  const auto start = Clock::now();
  const std::string error = servable.run(request, &outputs);
  tally->add(request, error, outputs, 1e3 * seconds_since(start));
}

// Sends each request once, starting with request `first`. Threads start with different requests, so
// that different requests run at the same time.
void send_round(const Servable& servable, const std::vector<Request>& requests, std::size_t first,
                const std::atomic<bool>& stop, Tally* tally) {
  for (std::size_t i = 0; i < requests.size() && !stop; ++i) {
    send(servable, requests[(first + i) % requests.size()], tally);
  }
}

struct Run {
  const Servable& servable;
  const std::vector<Request>& requests;
  int threads;
  double seconds, tolerance;
};

// Sends requests from all threads and returns the tally. Appends the resident memory to `memory`
// once a second.
Tally send_all(const Run& run, bool once, std::vector<double>* memory) {
  std::vector<Tally> tallies(run.threads, Tally(run.tolerance));
  std::vector<std::thread> threads;
  std::atomic<bool> stop{false};
  std::atomic<int> working{run.threads};
  for (int t = 0; t < run.threads; ++t) {
    threads.emplace_back([&, t] {
      const std::size_t first = t * run.requests.size() / run.threads;
      do {
        send_round(run.servable, run.requests, first, stop, &tallies[t]);
      } while (!once && !stop);
      --working;
    });
  }
  const auto start = Clock::now();
  for (auto sample = start; working > 0;) {
    if (!once && seconds_since(start) >= run.seconds) stop = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (seconds_since(sample) < 1) continue;
    memory->push_back(resident_mib());
    sample = Clock::now();
  }
  for (std::thread& thread : threads) thread.join();
  Tally total(run.tolerance);
  for (const Tally& tally : tallies) total.add(tally);
  return total;
}

void run(const Run& run) {
  std::vector<double> memory;
  const auto start = Clock::now();
  // The first round fills caches and pools, so memory is recorded from its end on.
  Tally total = send_all(run, true, &memory);
  const double after_first_round = resident_mib();
  memory.clear();
  if (run.seconds > 0) total.add(send_all(run, false, &memory));
  std::cout << "{\"seconds\": " << seconds_since(start) << ", \"threads\": " << run.threads << ", ";
  total.write_json(std::cout);
  std::cout << ", \"memory_mib\": [" << after_first_round;
  for (const double sample : memory) std::cout << ", " << sample;
  std::cout << ", " << resident_mib() << "]}" << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) fail("LIBRARY SAVED_MODEL REQUESTS THREADS SECONDS TOLERANCE");
  const std::string folder = argv[3];
  const std::vector<Request> requests = read_requests(folder);
  const std::unique_ptr<Servable> servable = load_servable({argv[1], argv[2], folder});
  run({*servable, requests, std::stoi(argv[4]), std::stod(argv[5]), std::stod(argv[6])});
}
