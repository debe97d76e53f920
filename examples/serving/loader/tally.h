// The outcomes of requests: counts, latencies, and the largest difference from the expected
// outputs.
#ifndef BOXCONV_EXAMPLES_SERVING_LOADER_TALLY_H_
#define BOXCONV_EXAMPLES_SERVING_LOADER_TALLY_H_

#include <array>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "request.h"

// A histogram of milliseconds. Each bin is 2% wider than the one before, so that a fixed number of
// bins covers all latencies.
class Latencies {
 public:
  void add(double milliseconds);
  void add(const Latencies& other);
  double quantile(double part) const;

 private:
  std::array<std::int64_t, 1024> counts_{};
};

class Tally {
 public:
  explicit Tally(double tolerance) : tolerance_(tolerance) {}

  // `error` is empty if the request was answered.
  void add(const Request& request, const std::string& error, const Tensors& outputs,
           double milliseconds);
  void add(const Tally& other);

  std::int64_t count() const { return answered_ + refused_ + wrongly_answered_ + wrongly_refused_; }
  void write_json(std::ostream& out) const;

 private:
  void complain(const Request& request, const std::string& problem);
  bool right(const Request& request, const Tensors& outputs, std::string* problem);

  double tolerance_, difference_ = 0;
  std::int64_t answered_ = 0, refused_ = 0, wrongly_answered_ = 0, wrongly_refused_ = 0;
  Latencies answer_times_, refusal_times_;
  std::vector<std::string> problems_;
};

#endif  // BOXCONV_EXAMPLES_SERVING_LOADER_TALLY_H_
