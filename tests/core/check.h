// Named test cases, and checks that print the values they compare:
//
//   TEST(bfloat16_ties_round_to_even) {
//     CHECK_EQUAL(float_to_bfloat16(1.00390625f).bits, 0x3f80);
//   }
//
// test_main.cc runs all cases of a program. This is not GoogleTest because the tests of core need
// nothing but a C++17 compiler. They are built for several sanitizers, for Arm64 under an emulator,
// and for Bazel, and GoogleTest would have to be downloaded and built for each of these.
#ifndef BOXCONV_TESTS_CORE_CHECK_H_
#define BOXCONV_TESTS_CORE_CHECK_H_

#include <atomic>
#include <cmath>
#include <cstdio>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace boxconv {
namespace test {

struct TestCase {
  const char* name;
  void (*run)();
};

inline std::vector<TestCase>& test_cases() {
  static std::vector<TestCase> cases;
  return cases;
}

inline std::atomic<int>& failures() {
  static std::atomic<int> count{0};
  return count;
}

// The text of the innermost Trace of this thread.
inline std::string& current_trace() {
  thread_local std::string trace;
  return trace;
}

// While it lives, failures in this thread also print `text`, such as the seed of a problem.
class Trace {
 public:
  explicit Trace(std::string text) : outer_(std::exchange(current_trace(), std::move(text))) {}
  ~Trace() { current_trace() = outer_; }
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

 private:
  std::string outer_;
};

// Counts a failure. Only the first 20 are printed.
inline void fail(const char* file, int line, const std::string& text) {
  if (failures()++ >= 20) return;
  const std::string& trace = current_trace();
  std::fprintf(stderr, "%s:%d: FAILED: %s%s%s\n", file, line, text.c_str(),
               trace.empty() ? "" : ", with ", trace.c_str());
}

template <typename T>
std::string text_of(const T& value) {
  std::ostringstream text;
  text.precision(17);
  text << value;
  return text.str();
}

template <typename Got, typename Want>
void check_equal(const char* file, int line, const char* expression, const Got& got,
                 const Want& want) {
  if (got == want) return;
  fail(file, line, std::string(expression) + " is " + text_of(got) + ", expected " + text_of(want));
}

// Fails if the difference is more than `tolerance`, or if a value is NaN.
inline void check_near(const char* file, int line, const char* expression, double got, double want,
                       double tolerance) {
  if (std::abs(got - want) <= tolerance) return;
  fail(file, line,
       std::string(expression) + " is " + text_of(got) + ", expected " + text_of(want) +
           " within " + text_of(tolerance));
}

inline void check_contains(const char* file, int line, const std::string& text,
                           const std::string& part) {
  if (text.find(part) != std::string::npos) return;
  fail(file, line, "\"" + text + "\" does not contain \"" + part + "\"");
}

}  // namespace test
}  // namespace boxconv

#define TEST(name)                                                 \
  static void test_##name();                                       \
  static const bool registered_##name = [] {                       \
    ::boxconv::test::test_cases().push_back({#name, test_##name}); \
    return true;                                                   \
  }();                                                             \
  static void test_##name()

#define CHECK(condition) \
  ((condition) ? (void)0 : ::boxconv::test::fail(__FILE__, __LINE__, #condition))
#define CHECK_EQUAL(got, want) ::boxconv::test::check_equal(__FILE__, __LINE__, #got, (got), (want))
#define CHECK_NEAR(got, want, tolerance) \
  ::boxconv::test::check_near(__FILE__, __LINE__, #got, (got), (want), (tolerance))
#define CHECK_CONTAINS(text, part) \
  ::boxconv::test::check_contains(__FILE__, __LINE__, (text), (part))

#endif  // BOXCONV_TESTS_CORE_CHECK_H_
