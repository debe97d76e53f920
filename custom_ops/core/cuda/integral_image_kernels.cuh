// Integral images on a GPU. All sums are double.
//
// Within a tile, each thread first sums down one column, then along one row.
//
// If there are enough planes to fill the device, a block computes the whole planes of a few
// channels, tile by tile. Rows may span several tiles; their sums up to the present tile are in the
// workspace. The input is read once and the table written once.
//
// Otherwise a block computes single tiles, in three steps:
//   1. sum each tile's columns and rows, which reads the input,
//   2. scan these sums over the tiles, which gives the sums above and to the left of each tile,
//   3. write the tables, which reads the input again.
#ifndef BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_KERNELS_CUH_
#define BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_KERNELS_CUH_

#include "core/cuda/box_conv_tile.cuh"
#include "core/cuda/integral_image_plan.cuh"

namespace boxconv {
namespace cuda {

// For each tile of some units, the sums of the pixels outside the tile that its table needs: for
// each column, the sum of the rows above the tile; for each row, the table's value at the left
// border of the tile. Before the scans, the same arrays hold the sums of the tile's own columns and
// rows.
struct TileBorders {
  double* above;  // [unit, tile down, channel, x]
  double* left;   // [unit, tile across, channel, y]
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

// Values that a thread loads before it uses the first, which hides the latency of the loads.
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

  // Writes the tables of whole planes. `row_sums` holds one value for each row of each channel, and
  // belongs to this block.
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

  // Stores the sums of a tile's columns and rows in `borders`.
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

  // Writes one tile of the table, given the scanned borders.
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
    return tile_[(row * plan_.row_stride() + column) * plan_.group + channel_];
  }
  // The pixel in this thread's column.
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

  // Writes a tile of the table: sums down its columns, then calls add_row(row) for each row.
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

  // Calls body(row) for each row of this thread.
  template <typename Body>
  BOXCONV_DEVICE void for_each_row(const Region& region, const Body& body) const {
    for (int row = lane_; exists_ && row < region.height; row += plan_.columns) body(row);
  }

  // Replaces a row by its running sums, starting from `sum`. Returns the last one.
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

// Calls body(unit, tile across, tile down) for each tile of this block.
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

// Replaces each of `count` values, `stride` apart, by the sum of the values before it.
BOXCONV_DEVICE void sum_before_each(double* line, Index count, Index stride) {
  double sum = 0;
  for (Index i = 0; i < count; i += kValuesAtOnce) {
    double values[kValuesAtOnce];
    BOXCONV_UNROLL for (int k = 0; k < kValuesAtOnce; ++k) {
      values[k] = i + k < count ? line[(i + k) * stride] : 0;
    }
    BOXCONV_UNROLL for (int k = 0; k < kValuesAtOnce; ++k) {
      if (i + k < count) line[(i + k) * stride] = sum;
      sum += values[k];
    }
  }
}

// Replaces the sums of each tile by the sums of all tiles above it, and of all tiles to its left.
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

// Replaces the row sums left of each tile by the table's values there: running sums down the rows.
// A warp sums one line; each lane takes kValuesAtOnce rows at a time.
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

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_KERNELS_CUH_
