// Counts the outcomes of requests, and writes them as JSON.
#include "tally.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iomanip>

namespace {

constexpr double kMinMilliseconds = 1e-3;  // the first bin
constexpr double kBinRatio = 1.02;
constexpr std::size_t kMaxProblems = 10;

// Numbers of the types float32 and bool.
std::vector<float> numbers(const HostTensor& tensor) {
  if (tensor.type == "bool") return {tensor.bytes.begin(), tensor.bytes.end()};
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

// The largest difference, relative to the largest value or to 1, whichever is more: a float32
// coordinate of 400 pixels is exact to only 3e-5 pixels. Infinite if a difference is not finite.
double difference(const HostTensor& found, const HostTensor& expected) {
  const std::vector<float> a = numbers(found), b = numbers(expected);
  double scale = 1, max = 0;
  for (const float value : b) scale = std::max(scale, std::abs(double{value}));
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double distance = std::abs(double{a[i]} - double{b[i]});
    max = std::isfinite(distance) ? std::max(max, distance) : INFINITY;
  }
  return max / scale;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e ? ' ' : c;
  }
  return out + '"';
}

}  // namespace

void Latencies::add(double milliseconds) {
  const double bin =
      std::log(std::max(milliseconds, kMinMilliseconds) / kMinMilliseconds) / std::log(kBinRatio);
  ++counts_[std::min(static_cast<std::size_t>(bin), counts_.size() - 1)];
}

void Latencies::add(const Latencies& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

double Latencies::quantile(double part) const {
  std::int64_t total = 0, seen = 0;
  for (const std::int64_t count : counts_) total += count;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (total > 0 && seen >= part * total) return kMinMilliseconds * std::pow(kBinRatio, i + 0.5);
  }
  return 0;
}

void Tally::add(const Request& request, const std::string& error, const Tensors& outputs,
                double milliseconds) {
  (error.empty() ? answer_times_ : refusal_times_).add(milliseconds);
  std::string problem;
  if (request.must_be_refused()) {
    if (error.empty()) complain(request, "was answered and should have been refused");
    ++(error.empty() ? wrongly_answered_ : refused_);
  } else if (!error.empty()) {
    complain(request, error);
    ++wrongly_refused_;
  } else if (!right(request, outputs, &problem)) {
    complain(request, problem);
    ++wrongly_answered_;
  } else {
    ++answered_;
  }
}

void Tally::add(const Tally& other) {
  answered_ += other.answered_;
  refused_ += other.refused_;
  wrongly_answered_ += other.wrongly_answered_;
  wrongly_refused_ += other.wrongly_refused_;
  difference_ = std::max(difference_, other.difference_);
  answer_times_.add(other.answer_times_);
  refusal_times_.add(other.refusal_times_);
  for (const std::string& problem : other.problems_) {
    if (problems_.size() < kMaxProblems) problems_.push_back(problem);
  }
}

void Tally::complain(const Request& request, const std::string& problem) {
  if (problems_.size() < kMaxProblems) problems_.push_back(request.name + ": " + problem);
}

bool Tally::right(const Request& request, const Tensors& outputs, std::string* problem) {
  for (const auto& [name, expected] : request.outputs) {
    const auto found = outputs.find(name);
    if (found == outputs.end() || found->second.type != expected.type ||
        found->second.dims != expected.dims) {
      *problem = name + " is missing, or has another type or shape than expected";
      return false;
    }
    const double off = difference(found->second, expected);
    difference_ = std::max(difference_, off);
    if (off > tolerance_) {
      *problem = name + " is off by " + std::to_string(off);
      return false;
    }
  }
  return true;
}

void Tally::write_json(std::ostream& out) const {
  // JSON has no infinity.
  const double shown = std::isfinite(difference_) ? difference_ : 1e30;
  out << std::setprecision(6) << "\"requests\": " << count() << ", \"answered\": " << answered_
      << ", \"refused\": " << refused_ << ", \"wrongly_answered\": " << wrongly_answered_
      << ", \"wrongly_refused\": " << wrongly_refused_ << ", \"largest_difference\": " << shown
      << ", \"answer_ms\": [" << answer_times_.quantile(0.5) << ", " << answer_times_.quantile(0.99)
      << "], \"refusal_ms\": [" << refusal_times_.quantile(0.5) << ", "
      << refusal_times_.quantile(0.99) << "], \"problems\": [";
  for (std::size_t i = 0; i < problems_.size(); ++i) {
    out << (i ? ", " : "") << quoted(problems_[i]);
  }
  out << "]";
}
