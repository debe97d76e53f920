// The integral-image kernel. A block has the planes of a few channels of an image, and goes through
// them in tiles: a thread adds a column up from row to row in a register, then a thread adds those
// sums up along a row, whose sum so far waits in the workspace while the block is at other tiles.
// The input is read once and the table written once; all sums are double.
#ifndef BOXCONV_CORE_INTEGRAL_IMAGE_CUH_
#define BOXCONV_CORE_INTEGRAL_IMAGE_CUH_

#include "core/box_conv_launch.cuh"

namespace boxconv {
namespace BOXCONV_ISA {

struct IntegralImagePlan {
  IntegralImageProblem problem;
  int group = 1, columns = 64, rows = 32;  // channels of a block, and its tile
  Index groups = 0;
  int blocks = 0;

  BOXCONV_HOST_DEVICE bool channels_last() const { return problem.layout == Layout::kChannelsLast; }
  BOXCONV_HOST_DEVICE int threads() const { return group * columns; }
  // Odd, against bank conflicts.
  BOXCONV_HOST_DEVICE int row_step() const { return columns + 1; }
  int shared_bytes() const { return group * rows * row_step() * static_cast<int>(sizeof(double)); }
};

template <typename T>
IntegralImagePlan integral_image_plan(const IntegralImageProblem& p, const GpuLimits& limits) {
  IntegralImagePlan plan;
  plan.problem = p;
  const int sector = p.layout == Layout::kChannelsLast ? kSector / static_cast<int>(sizeof(T)) : 1;
  plan.group = plan_detail::power_of_two_from(p.channels, sector < 8 ? sector : 8);
  plan.columns = plan_detail::power_of_two_from(p.width, 128 / plan.group);
  plan.rows = plan_detail::power_of_two_from(p.height, 128 / plan.group);
  const auto halve = [](int* value) {
    if (*value > 1) *value /= 2;
  };
  while (plan.shared_bytes() > limits.shared_bytes / 4 && plan.rows * plan.columns > 1) {
    halve(plan.rows > plan.columns ? &plan.rows : &plan.columns);
  }
  plan.groups = (p.channels + plan.group - 1) / plan.group;
  // Blocks of several tiles along a row need workspace for row sums: no more than keep a GPU busy.
  const Index most = plan.columns < p.width ? limits.parts / 8 + 1 : limits.max_blocks;
  plan.blocks = static_cast<int>(smaller(p.batch * plan.groups, most));
  return plan;
}

template <typename T, typename TTable>
class IntegralImageKernel {
 public:
  BOXCONV_DEVICE IntegralImageKernel(const IntegralImagePlan& plan, const T* input,
                                     double* row_sums, TTable* table)
      : plan_(plan),
        p_(plan.problem),
        input_(input),
        table_(table),
        tile_(dynamic_shared<double>()) {
    const int thread = static_cast<int>(threadIdx.x);
    channel_ = plan.channels_last() ? thread % plan.group : thread / plan.columns;
    lane_ = plan.channels_last() ? thread / plan.group : thread % plan.columns;
    row_sums_ = row_sums + (blockIdx.x * plan.group + channel_) * p_.height;
  }

  BOXCONV_DEVICE void run(Index unit) {
    const Index image = unit / plan_.groups;
    const Index channel = unit % plan_.groups * plan_.group + channel_;
    exists_ = channel < p_.channels;
    source_ = plane_of(p_.layout, input_, image, p_.height, p_.width, p_.channels, channel);
    target_ = plane_of(p_.layout, table_, image, p_.height + 1, p_.width + 1, p_.channels, channel);
    if (exists_) write_border();
    for (Index x = 0; x < p_.width; x += plan_.columns) {
      double column_sum = 0;
      for (Index y = 0; y < p_.height; y += plan_.rows) {
        const int rows = static_cast<int>(smaller(plan_.rows, p_.height - y));
        const int columns = static_cast<int>(smaller(plan_.columns, p_.width - x));
        if (exists_ && lane_ < columns) add_down(x, y, rows, &column_sum);
        __syncthreads();
        for (int row = lane_; exists_ && row < rows; row += plan_.columns) {
          add_along(x, y, row, columns);
        }
        __syncthreads();
        if (exists_ && lane_ < columns) store(x, y, rows);
      }
      __syncthreads();
    }
  }

 private:
  BOXCONV_DEVICE double& tile(int row, int column) const {
    return tile_[(row * plan_.row_step() + column) * plan_.group + channel_];
  }

  BOXCONV_DEVICE void write_border() const {
    for (Index x = lane_; x <= p_.width; x += plan_.columns) target_.at(0, static_cast<int>(x)) = 0;
    for (Index y = lane_; y < p_.height; y += plan_.columns) {
      target_.at(static_cast<int>(y + 1), 0) = 0;
    }
  }

  BOXCONV_DEVICE void add_down(Index x, Index y, int rows, double* column_sum) const {
    for (int row = 0; row < rows; ++row) {
      *column_sum +=
          load_constant(&source_.at(static_cast<int>(y + row), static_cast<int>(x + lane_)));
      tile(row, lane_) = *column_sum;
    }
  }

  BOXCONV_DEVICE void add_along(Index x, Index y, int row, int columns) const {
    double sum = x == 0 ? 0 : row_sums_[y + row];
    for (int column = 0; column < columns; ++column) {
      sum += tile(row, column);
      tile(row, column) = sum;
    }
    if (x + columns < p_.width) row_sums_[y + row] = sum;
  }

  BOXCONV_DEVICE void store(Index x, Index y, int rows) const {
    for (int row = 0; row < rows; ++row) {
      target_.at(static_cast<int>(y + row + 1), static_cast<int>(x + lane_ + 1)) =
          static_cast<TTable>(tile(row, lane_));
    }
  }

  const IntegralImagePlan& plan_;
  const IntegralImageProblem& p_;
  const T* input_;
  TTable* table_;
  double *tile_, *row_sums_;
  int channel_, lane_;
  bool exists_ = false;
  Plane<const T> source_ = {};
  Plane<TTable> target_ = {};
};

template <typename T, typename TTable>
__global__ void __launch_bounds__(kMaxThreads)
    integral_image_planes(IntegralImagePlan plan, const T* input, double* row_sums, TTable* table) {
  IntegralImageKernel<T, TTable> kernel(plan, input, row_sums, table);
  const Index units = plan.problem.batch * plan.groups;
  for (Index unit = blockIdx.x; unit < units; unit += gridDim.x) kernel.run(unit);
}

// The borders of tables of images without pixels are all that there is of them.
template <typename T, typename TTable, typename Device>
class IntegralImageLauncher {
 public:
  IntegralImageLauncher(const IntegralImageProblem& problem, const GpuLimits& limits,
                        void* workspace = nullptr)
      : plan_(integral_image_plan<T>(problem, limits)) {
    Workspace pieces(workspace);
    const Index rows = plan_.columns < problem.width ? problem.height : 0;
    row_sums_ = pieces.claim<double>(plan_.blocks * plan_.group * rows);
    workspace_size_ = pieces.size();
  }

  std::size_t workspace_size() const { return workspace_size_; }

  void run(Device& device, const T* input, TTable* table) const {
    const IntegralImageProblem& p = plan_.problem;
    if (p.batch * p.channels == 0) return;
    device.launch(integral_image_planes<T, TTable>, plan_.blocks, plan_.threads(),
                  plan_.shared_bytes(), plan_, input, row_sums_, table);
  }

 private:
  const IntegralImagePlan plan_;
  double* row_sums_ = nullptr;
  std::size_t workspace_size_ = 0;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_INTEGRAL_IMAGE_CUH_
