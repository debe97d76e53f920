// Compares the CUDA kernels of integral images, emulated without a GPU, with the CPU kernels.
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/cpu/box_conv.h"
#include "core/cpu/threads.h"
#include "core/cuda/device.cuh"
#include "core/cuda/integral_image_launch.cuh"
#include "cuda_problems.h"

namespace boxconv {
namespace cuda {
namespace {

IntegralImageProblem random_image_problem(std::mt19937& random) {
  IntegralImageProblem p;
  p.batch = random() % 4;
  p.height = random() % 40;
  p.width = random() % 70;
  p.channels = random() % 12;
  p.layout = random() % 2 ? Layout::kChannelsLast : Layout::kChannelsFirst;
  return p;
}

// Returns whether the tables were computed tile by tile.
template <typename T, typename TTable>
bool check_random_table(std::mt19937& random) {
  const IntegralImageProblem p = random_image_problem(random);
  GpuLimits limits = random_limits(random);
  limits.parts = random() % 2 ? 16 : 2048;
  const auto input = random_values<T>(random, p.batch * p.height * p.width * p.channels);
  const Index entries = p.batch * (p.height + 1) * (p.width + 1) * p.channels;
  std::vector<TTable> want(static_cast<std::size_t>(entries));
  boxconv::integral_image(p, input.data(), want.data(), on_threads(1));

  using Launcher = IntegralImageLauncher<T, TTable, Device>;
  Device device;
  auto got = uninitialized<TTable>(entries);
  const std::size_t bytes = Launcher(p, limits).workspace_size();
  auto workspace = uninitialized<char>(static_cast<Index>(bytes) + 1);
  const Launcher launcher(p, limits, workspace.data());
  launcher.run(device, input.data(), got.data());
  for (std::size_t i = 0; i < want.size(); ++i) {
    CHECK_NEAR(got[i], want[i], sizeof(TTable) == sizeof(float) ? 1e-4 : 1e-10);
  }
  return launcher.plan().by_tiles;
}

template <typename T, typename TTable>
void check_random_tables() {
  int by_tiles = 0, by_planes = 0;
  for (unsigned seed = 1; seed <= 24; ++seed) {
    const test::Trace trace("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    ++(check_random_table<T, TTable>(random) ? by_tiles : by_planes);
  }
  CHECK(by_tiles >= 5);
  CHECK(by_planes >= 5);
}

TEST(float32_tables_of_float32_images) { check_random_tables<float, float>(); }
TEST(float64_tables_of_float16_images) { check_random_tables<Half, double>(); }
TEST(float64_tables_of_float64_images) { check_random_tables<double, double>(); }
TEST(float32_tables_of_bfloat16_images) { check_random_tables<BFloat16, float>(); }

}  // namespace
}  // namespace cuda
}  // namespace boxconv
