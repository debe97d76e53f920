// Launches the kernels of integral images in order, and divides the workspace between them.
#ifndef BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_LAUNCH_CUH_
#define BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_LAUNCH_CUH_

#include "core/cuda/box_conv_launch.cuh"
#include "core/cuda/integral_image_kernels.cuh"

namespace boxconv {
namespace cuda {

// Plans the work, divides the workspace and launches the kernels. Device is described in
// box_conv_launch.cuh.
template <typename T, typename TTable, typename Device>
class IntegralImageLauncher {
 public:
  IntegralImageLauncher(const IntegralImageProblem& problem, const GpuLimits& limits,
                        void* workspace = nullptr)
      : limits_(limits), plan_(integral_image_plan<T>(problem, limits)) {
    Workspace arrays(workspace);
    if (plan_.by_tiles) {
      const Index planes = plan_.units_at_once * plan_.group;
      above_ = arrays.claim<double>(planes * plan_.tiles_down() * problem.width);
      left_ = arrays.claim<double>(planes * plan_.tiles_across() * problem.height);
    } else {
      const Index rows = plan_.columns < problem.width ? problem.height : 0;
      row_sums_ = arrays.claim<double>(plan_.blocks * plan_.group * rows);
    }
    workspace_size_ = arrays.size();
  }

  std::size_t workspace_size() const { return workspace_size_; }
  const IntegralImagePlan& plan() const { return plan_; }

  void run(Device& device, const T* input, TTable* table) const {
    const IntegralImageProblem& p = plan_.problem;
    if (p.batch * p.channels == 0) return;
    // Tables of empty planes still have a border of zeros.
    if (!plan_.by_tiles) {
      device.launch(integral_image_planes<T, TTable>, plan_.blocks, plan_.threads(),
                    plan_.shared_bytes(), plan_, input, row_sums_, table);
      return;
    }
    for (Index first = 0; first < plan_.units(); first += plan_.units_at_once) {
      run_units(device, input, table,
                {above_, left_, first, min_index(plan_.units_at_once, plan_.units() - first)});
    }
  }

 private:
  static constexpr int kScanThreads = 128;

  void run_units(Device& device, const T* input, TTable* table, const TileBorders& borders) const {
    const IntegralImageProblem& p = plan_.problem;
    const Index units = borders.unit_count, lines = units * plan_.group;
    const int tiles = blocks(units * plan_.tiles_of_unit());
    device.launch(integral_image_tile_sums<T, TTable>, tiles, plan_.threads(), plan_.shared_bytes(),
                  plan_, input, borders);
    device.launch(integral_image_scan_tiles,
                  blocks(lines * (p.width + p.height) / kScanThreads + 1), kScanThreads, 0, plan_,
                  borders);
    device.launch(integral_image_scan_left,
                  blocks(lines * plan_.tiles_across() / (kScanThreads / kWarp) + 1), kScanThreads,
                  0, plan_, borders);
    device.launch(integral_image_tiles<T, TTable>, tiles, plan_.threads(), plan_.shared_bytes(),
                  plan_, input, borders, table);
  }

  int blocks(Index wanted) const { return static_cast<int>(min_index(wanted, limits_.max_blocks)); }

  const GpuLimits limits_;
  const IntegralImagePlan plan_;
  double *row_sums_ = nullptr, *above_ = nullptr, *left_ = nullptr;
  std::size_t workspace_size_ = 0;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_LAUNCH_CUH_
