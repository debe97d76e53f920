// Runs all test cases of a program.
#include <cstdio>

#include "check.h"

int main() {
  using boxconv::test::failures;
  for (const auto& test_case : boxconv::test::test_cases()) {
    const int before = failures();
    test_case.run();
    std::printf("%s: %s\n", test_case.name, failures() == before ? "passed" : "FAILED");
    std::fflush(stdout);
  }
  return failures() == 0 ? 0 : 1;
}
