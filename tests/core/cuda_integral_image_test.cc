// Compares the CUDA kernels of integral images, emulated without a GPU, with the CPU kernels.
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/cpu/box_conv.h"
#include "core/cpu/threads.h"
#include "core/cuda/device.cuh"
#include "core/cuda/integral_image.cu"
#include "cuda_problems.h"

namespace boxconv {
namespace cuda {
namespace {

IntegralImageProblem random_image_problem(std::mt19937& random) {
  IntegralImageProblem p;
  p.batch = random() % 4;
  p.height = random() % 40;
  p.width = random() % 70;
  p.channels = random() % (random() % 3 ? 12 : 40);
  p.layout = random() % 2 ? Layout::kChannelsLast : Layout::kChannelsFirst;
  return p;
}

template <typename T, typename TTable>
void check_random_table(std::mt19937& random) {
  const IntegralImageProblem p = random_image_problem(random);
  const auto input = random_values<T>(random, p.batch * p.height * p.width * p.channels);
  const Index entries = p.batch * (p.height + 1) * (p.width + 1) * p.channels;
  std::vector<TTable> want(static_cast<std::size_t>(entries));
  boxconv::integral_image(p, input.data(), want.data(), on_threads(1));

  Device device(random_limits(random));
  auto got = uninitialized<TTable>(entries);
  make_tables(device, p, input.data(), got.data());
  for (std::size_t i = 0; i < want.size(); ++i) {
    CHECK_NEAR(got[i], want[i], sizeof(TTable) == sizeof(float) ? 1e-4 : 1e-10);
  }
}

template <typename T, typename TTable>
void check_random_tables() {
  for (unsigned seed = 1; seed <= 24; ++seed) {
    const test::Trace trace("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    check_random_table<T, TTable>(random);
  }
}

TEST(float32_tables_of_float32_images) { check_random_tables<float, float>(); }
TEST(float64_tables_of_float16_images) { check_random_tables<Half, double>(); }
TEST(float64_tables_of_float64_images) { check_random_tables<double, double>(); }
TEST(float32_tables_of_bfloat16_images) { check_random_tables<BFloat16, float>(); }

}  // namespace
}  // namespace cuda
}  // namespace boxconv
