// Integral images. A block goes through planes of a few channels in tiles: a thread adds a column
// up from row to row in a register, then a thread adds those sums up along a row. All sums are
// double.
//
// Where there are planes enough for a device, a block has whole ones; the sums along rows wait in
// the workspace while it is at other tiles. The input is read once and the table written once.
//
// Where there are few, blocks have tiles: first each tile's sums of columns and of rows, a read of
// the input; then what is above and left of each tile, by scans over those sums; then the tables,
// with a second read.
#ifndef BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_CUH_
#define BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_CUH_

#include "core/cuda/box_conv_launch.cuh"

namespace boxconv {
namespace cuda {

struct IntegralImagePlan {
  IntegralImageProblem problem;
  int group = 1, columns = 64, rows = 32;  // channels of a block, and its tile
  Index groups = 0;
  int blocks = 0;         // that have whole planes
  bool by_tiles = false;  // or tiles of them
  Index bunch = 1;        // by tiles: units whose borders are in the workspace at a time

  BOXCONV_HOST_DEVICE bool channels_last() const { return problem.layout == Layout::kChannelsLast; }
  BOXCONV_HOST_DEVICE int threads() const { return group * columns; }
  // Odd, against bank conflicts.
  BOXCONV_HOST_DEVICE int row_step() const { return columns + 1; }
  // A unit is the planes of a group of channels of an image.
  BOXCONV_HOST_DEVICE Index units() const { return problem.batch * groups; }
  BOXCONV_HOST_DEVICE Index tiles_across() const { return (problem.width + columns - 1) / columns; }
  BOXCONV_HOST_DEVICE Index tiles_down() const { return (problem.height + rows - 1) / rows; }
  BOXCONV_HOST_DEVICE Index tiles_of_unit() const { return tiles_across() * tiles_down(); }
  BOXCONV_HOST_DEVICE bool has_channel(Index unit, Index channel_of_unit) const {
    return unit % groups * group + channel_of_unit < problem.channels;
  }
  int shared_bytes() const { return group * rows * row_step() * static_cast<int>(sizeof(double)); }
};

template <typename T>
IntegralImagePlan integral_image_plan(const IntegralImageProblem& p, const GpuLimits& limits) {
  IntegralImagePlan plan;
  plan.problem = p;
  const int sector = p.layout == Layout::kChannelsLast ? kSector / static_cast<int>(sizeof(T)) : 1;
  plan.group = plan_detail::power_of_two_from(p.channels, sector < 8 ? sector : 8);
  plan.columns = plan_detail::power_of_two_from(p.width, 128 / plan.group);
  plan.rows = plan_detail::power_of_two_from(p.height, 256 / plan.group);
  const auto halve = [](int* value) {
    if (*value > 1) *value /= 2;
  };
  while (plan.shared_bytes() > limits.shared_bytes / 4 && plan.rows * plan.columns > 1) {
    halve(plan.rows > plan.columns ? &plan.rows : &plan.columns);
  }
  plan.groups = (p.channels + plan.group - 1) / plan.group;
  // What a device has room for at a time; a part is a sixteenth of a multiprocessor.
  const Index resident = min_index(16, (limits.shared_bytes + limits.reserved_bytes) /
                                           (plan.shared_bytes() + limits.reserved_bytes));
  const Index most = max_index(limits.parts / 16 * resident, 1), tiles = plan.tiles_of_unit();
  // Blocks of several tiles along a row need workspace for row sums: no more than are resident.
  plan.blocks =
      static_cast<int>(min_index(plan.units(), plan.columns < p.width ? most : limits.max_blocks));
  plan.by_tiles = tiles > 1 && plan.units() < most;
  plan.bunch = max_index(min_index(plan.units(), 4 * limits.parts / max_index(tiles, 1)), 1);
  return plan;
}

// What is beyond each tile of a bunch of units: sums of each of its columns over the rows above,
// and the table's values on its left border. Until they have been scanned, the tile's own sums of
// its columns and rows.
struct TileBorders {
  double *above, *left;  // [unit, tile down, channel, x], [unit, tile across, channel, y]
  Index first_unit, unit_count;

  BOXCONV_DEVICE double* above_tile(const IntegralImagePlan& plan, Index unit, Index down,
                                    int channel) const {
    const Index tile = (unit - first_unit) * plan.tiles_down() + down;
    return above + (tile * plan.group + channel) * plan.problem.width;
  }
  BOXCONV_DEVICE double* left_of_tile(const IntegralImagePlan& plan, Index unit, Index across,
                                      int channel) const {
    const Index tile = (unit - first_unit) * plan.tiles_across() + across;
    return left + (tile * plan.group + channel) * plan.problem.height;
  }
};

// Values that a thread has at once, so that it need not wait for each.
constexpr int kValuesAtOnce = 8;

template <typename T, typename TTable>
class IntegralImageKernel {
 public:
  BOXCONV_DEVICE IntegralImageKernel(const IntegralImagePlan& plan, const T* input, TTable* table)
      : plan_(plan),
        p_(plan.problem),
        input_(input),
        table_(table),
        tile_(dynamic_shared<double>()) {
    const int thread = static_cast<int>(threadIdx.x);
    channel_ = plan.channels_last() ? thread % plan.group : thread / plan.columns;
    lane_ = plan.channels_last() ? thread / plan.group : thread % plan.columns;
  }

  // Whole planes; row_sums are the block's, for each of its channels' rows.
  BOXCONV_DEVICE void run(Index unit, double* row_sums) {
    begin(unit);
    if (exists_) write_border();
    row_sums += channel_ * p_.height;
    for (Index x = 0; x < p_.width; x += plan_.columns) {
      double column_sum = 0;
      for (Index y = 0; y < p_.height; y += plan_.rows) {
        const Region region = tile_at(x, y);
        make_table(region, &column_sum, [&](int row) {
          const double sum = add_along(region, row, x == 0 ? 0 : row_sums[y + row]);
          if (x + region.width < p_.width) row_sums[y + row] = sum;
        });
      }
      __syncthreads();
    }
  }

  // A tile's own sums of columns and of rows.
  BOXCONV_DEVICE void sum_tile(Index unit, Index across, Index down, const TileBorders& borders) {
    begin(unit);
    const Region region = tile_at(across * plan_.columns, down * plan_.rows);
    if (has_column(region)) {
      double sum = 0;
      for (int row = 0; row < region.height; ++row) {
        const double pixel = source(region, row);
        tile(row, lane_) = pixel;
        sum += pixel;
      }
      borders.above_tile(plan_, unit, down, channel_)[region.x + lane_] = sum;
    }
    __syncthreads();
    double* sums = borders.left_of_tile(plan_, unit, across, channel_) + region.y;
    for_each_row(region, [&](int row) {
      double sum = 0;
      for (int column = 0; column < region.width; ++column) sum += tile(row, column);
      sums[row] = sum;
    });
    __syncthreads();
  }

  // A tile of the table, between its borders.
  BOXCONV_DEVICE void finish_tile(Index unit, Index across, Index down,
                                  const TileBorders& borders) {
    begin(unit);
    if (exists_ && across == 0 && down == 0) write_border();
    const Region region = tile_at(across * plan_.columns, down * plan_.rows);
    const double* above = borders.above_tile(plan_, unit, down, channel_) + region.x;
    const double* left = borders.left_of_tile(plan_, unit, across, channel_) + region.y;
    double column_sum = has_column(region) ? above[lane_] : 0;
    make_table(region, &column_sum, [&](int row) { add_along(region, row, left[row]); });
    __syncthreads();
  }

 private:
  BOXCONV_DEVICE void begin(Index unit) {
    const Index image = unit / plan_.groups;
    const Index channel = unit % plan_.groups * plan_.group + channel_;
    exists_ = plan_.has_channel(unit, channel_);
    source_ = plane_of(p_.layout, input_, image, p_.height, p_.width, p_.channels, channel);
    target_ = plane_of(p_.layout, table_, image, p_.height + 1, p_.width + 1, p_.channels, channel);
  }
  BOXCONV_DEVICE Region tile_at(Index x, Index y) const {
    return {static_cast<int>(y), static_cast<int>(x),
            static_cast<int>(min_index(plan_.rows, p_.height - y)),
            static_cast<int>(min_index(plan_.columns, p_.width - x))};
  }
  BOXCONV_DEVICE double& tile(int row, int column) const {
    return tile_[(row * plan_.row_step() + column) * plan_.group + channel_];
  }
  // The pixel of this thread's column.
  BOXCONV_DEVICE double source(const Region& region, int row) const {
    return load_constant(&source_.at(region.y + row, region.x + lane_));
  }

  BOXCONV_DEVICE void write_border() const {
    for (Index x = lane_; x <= p_.width; x += plan_.columns) target_.at(0, static_cast<int>(x)) = 0;
    for (Index y = lane_; y < p_.height; y += plan_.columns) {
      target_.at(static_cast<int>(y + 1), 0) = 0;
    }
  }

  BOXCONV_DEVICE bool has_column(const Region& region) const {
    return exists_ && lane_ < region.width;
  }

  // A tile of the table: sums down its columns, then add_row(row) along each row.
  template <typename AddRow>
  BOXCONV_DEVICE void make_table(const Region& region, double* column_sum,
                                 const AddRow& add_row) const {
    if (has_column(region)) add_down(region, column_sum);
    __syncthreads();
    for_each_row(region, add_row);
    __syncthreads();
    if (has_column(region)) store(region);
  }

  BOXCONV_DEVICE void add_down(const Region& region, double* column_sum) const {
    for (int row = 0; row < region.height; ++row) {
      *column_sum += source(region, row);
      tile(row, lane_) = *column_sum;
    }
  }

  // Calls body(row) for the rows of this thread.
  template <typename Body>
  BOXCONV_DEVICE void for_each_row(const Region& region, const Body& body) const {
    for (int row = lane_; exists_ && row < region.height; row += plan_.columns) body(row);
  }

  // Returns the sum at the row's end.
  BOXCONV_DEVICE double add_along(const Region& region, int row, double sum) const {
    for (int column = 0; column < region.width; column += kValuesAtOnce) {
      double values[kValuesAtOnce];
      BOXCONV_UNROLL for (int k = 0; k < kValuesAtOnce; ++k) {
        values[k] = column + k < region.width ? tile(row, column + k) : 0;
      }
      BOXCONV_UNROLL for (int k = 0; k < kValuesAtOnce; ++k) {
        sum += values[k];
        if (column + k < region.width) tile(row, column + k) = sum;
      }
    }
    return sum;
  }

  BOXCONV_DEVICE void store(const Region& region) const {
    for (int row = 0; row < region.height; ++row) {
      target_.at(region.y + row + 1, region.x + lane_ + 1) = static_cast<TTable>(tile(row, lane_));
    }
  }

  const IntegralImagePlan& plan_;
  const IntegralImageProblem& p_;
  const T* input_;
  TTable* table_;
  double* tile_;
  int channel_, lane_;
  bool exists_ = false;
  Plane<const T> source_ = {};
  Plane<TTable> target_ = {};
};

template <typename T, typename TTable>
__global__ void __launch_bounds__(kMaxThreads)
    integral_image_planes(IntegralImagePlan plan, const T* input, double* row_sums, TTable* table) {
  IntegralImageKernel<T, TTable> kernel(plan, input, table);
  row_sums += blockIdx.x * plan.group * plan.problem.height;
  for (Index unit = blockIdx.x; unit < plan.units(); unit += gridDim.x) kernel.run(unit, row_sums);
}

// Calls body(unit, tile across, tile down) for the tiles that a block has.
template <typename Body>
BOXCONV_DEVICE void for_each_tile(const IntegralImagePlan& plan, const TileBorders& borders,
                                  const Body& body) {
  const Index across = plan.tiles_across(), tiles = plan.tiles_of_unit();
  for (Index i = blockIdx.x; i < borders.unit_count * tiles; i += gridDim.x) {
    body(borders.first_unit + i / tiles, i % across, i % tiles / across);
  }
}

template <typename T, typename TTable>
__global__ void __launch_bounds__(kMaxThreads)
    integral_image_tile_sums(IntegralImagePlan plan, const T* input, TileBorders borders) {
  IntegralImageKernel<T, TTable> kernel(plan, input, nullptr);
  for_each_tile(plan, borders, [&](Index unit, Index across, Index down) {
    kernel.sum_tile(unit, across, down, borders);
  });
}

// Replaces `count` values, `step` apart, by the sums of those before.
BOXCONV_DEVICE void sum_before_each(double* line, Index count, Index step) {
  double sum = 0;
  for (Index i = 0; i < count; i += kValuesAtOnce) {
    double values[kValuesAtOnce];
    BOXCONV_UNROLL for (int k = 0; k < kValuesAtOnce; ++k) {
      values[k] = i + k < count ? line[(i + k) * step] : 0;
    }
    BOXCONV_UNROLL for (int k = 0; k < kValuesAtOnce; ++k) {
      if (i + k < count) line[(i + k) * step] = sum;
      sum += values[k];
    }
  }
}

// From tiles' own sums to those of all tiles above, and of all tiles to the left.
static __global__ void integral_image_scan_tiles(IntegralImagePlan plan, TileBorders borders) {
  const Index width = plan.problem.width, height = plan.problem.height;
  const Index columns = plan.group * width, rows = plan.group * height;
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < borders.unit_count * (columns + rows); i += threads) {
    const Index unit = borders.first_unit + i / (columns + rows), line = i % (columns + rows);
    const bool is_column = line < columns;
    if (!plan.has_channel(unit, is_column ? line / width : (line - columns) / height)) continue;
    if (is_column) {
      sum_before_each(borders.above_tile(plan, unit, 0, 0) + line, plan.tiles_down(), columns);
    } else {
      sum_before_each(borders.left_of_tile(plan, unit, 0, 0) + (line - columns),
                      plan.tiles_across(), rows);
    }
  }
}

// From sums of rows left of tiles to the table's values there: a warp adds them up downwards, a
// lane having a few rows at a time.
static __global__ void integral_image_scan_left(IntegralImagePlan plan, TileBorders borders) {
  const Index height = plan.problem.height, of_unit = plan.tiles_across() * plan.group;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  for (Index i = static_cast<Index>(blockIdx.x) * warps + threadIdx.x / kWarp;
       i < borders.unit_count * of_unit; i += static_cast<Index>(gridDim.x) * warps) {
    if (!plan.has_channel(borders.first_unit + i / of_unit, i % plan.group)) continue;
    double* line = borders.left + i * height;
    double before = 0;
    for (Index first = 0; first < height; first += kWarp * kValuesAtOnce) {
      const Index y = first + lane * kValuesAtOnce;
      double values[kValuesAtOnce], sum = 0;
      BOXCONV_UNROLL for (int k = 0; k < kValuesAtOnce; ++k) {
        values[k] = y + k < height ? line[y + k] : 0;
      }
      BOXCONV_UNROLL for (int k = 0; k < kValuesAtOnce; ++k) sum += values[k];
      for (int span = 1; span < kWarp; span *= 2) {
        const double above = warp_value(sum, (lane - span) & (kWarp - 1));
        if (lane >= span) sum += above;
      }
      const double above = warp_value(sum, (lane - 1) & (kWarp - 1));
      double until = before + (lane > 0 ? above : 0);
      BOXCONV_UNROLL for (int k = 0; k < kValuesAtOnce; ++k) {
        until += values[k];
        if (y + k < height) line[y + k] = until;
      }
      before += warp_value(sum, kWarp - 1);
    }
  }
}

template <typename T, typename TTable>
__global__ void __launch_bounds__(kMaxThreads)
    integral_image_tiles(IntegralImagePlan plan, const T* input, TileBorders borders,
                         TTable* table) {
  IntegralImageKernel<T, TTable> kernel(plan, input, table);
  for_each_tile(plan, borders, [&](Index unit, Index across, Index down) {
    kernel.finish_tile(unit, across, down, borders);
  });
}

// The borders of tables of images without pixels are all that there is of them.
template <typename T, typename TTable, typename Device>
class IntegralImageLauncher {
 public:
  IntegralImageLauncher(const IntegralImageProblem& problem, const GpuLimits& limits,
                        void* workspace = nullptr)
      : limits_(limits), plan_(integral_image_plan<T>(problem, limits)) {
    Workspace pieces(workspace);
    if (plan_.by_tiles) {
      const Index planes = plan_.bunch * plan_.group;
      above_ = pieces.claim<double>(planes * plan_.tiles_down() * problem.width);
      left_ = pieces.claim<double>(planes * plan_.tiles_across() * problem.height);
    } else {
      const Index rows = plan_.columns < problem.width ? problem.height : 0;
      row_sums_ = pieces.claim<double>(plan_.blocks * plan_.group * rows);
    }
    workspace_size_ = pieces.size();
  }

  std::size_t workspace_size() const { return workspace_size_; }
  const IntegralImagePlan& plan() const { return plan_; }

  void run(Device& device, const T* input, TTable* table) const {
    const IntegralImageProblem& p = plan_.problem;
    if (p.batch * p.channels == 0) return;
    if (!plan_.by_tiles) {
      device.launch(integral_image_planes<T, TTable>, plan_.blocks, plan_.threads(),
                    plan_.shared_bytes(), plan_, input, row_sums_, table);
      return;
    }
    for (Index first = 0; first < plan_.units(); first += plan_.bunch) {
      run_bunch(device, input, table,
                {above_, left_, first, min_index(plan_.bunch, plan_.units() - first)});
    }
  }

 private:
  static constexpr int kScanThreads = 128;

  void run_bunch(Device& device, const T* input, TTable* table, const TileBorders& borders) const {
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

#endif  // BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_CUH_
