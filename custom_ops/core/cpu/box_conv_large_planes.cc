#include "core/cpu/box_conv_large_planes.h"

#include <atomic>

#include "core/cpu/instruction_sets.h"
#include "core/cpu/kept_array.h"
#include "core/cpu/kernels_large_planes.h"
#include "core/cpu/large_planes.h"
#include "core/cpu/parallel_tiles.h"

namespace boxconv {
namespace {

// The cost of loading and storing a pixel; see PixelCost.
constexpr PixelCost kCopyCost{0.4, 0.4};

// Computes a tile in steps. `stride` is the number of source rows from one row of the result to the
// next. Calls run_rows(step, begin, end) and run_channels(step, begin, end) for both phases of each
// step (TileStep).
template <typename RunRows, typename RunChannels>
Status run_steps(const LargeTile& t, Index stride, PixelCost cost, const ParallelFor& parallel_for,
                 const RunRows& run_rows, const RunChannels& run_channels) {
  const Tile& tile = t.tile;
  const double columns = static_cast<double>(tile.columns.count);
  const Index row_cost = kCopyCost.nanoseconds(columns * static_cast<double>(tile.channels.count),
                                               t.problem.boxes_per_channel);
  Index loaded = tile.source_rows.first;
  TileStep step{{0, 0}, {0, 0}, {0, 0}, true};
  for (Index row = 0;; row += t.plan.step_rows) {
    step.stored = step.computed;
    step.computed = {tile.rows.first + row,
                     clamp_index(tile.rows.count - row, 0, t.plan.step_rows)};
    const Index last = (step.computed.first + step.computed.count - 1) * stride;
    const Index reached = min_index(last + t.reach.bottom + 1, t.problem.height);
    step.loaded = {loaded, step.computed.count > 0 ? max_index(reached - loaded, 0) : 0};
    loaded += step.loaded.count;
    Status status =
        run_in_parallel(step.row_count(), row_cost, parallel_for, [&](Index begin, Index end) {
          run_rows(step, begin, end);
          return true;
        });
    if (status != Status::kOk || step.computed.count == 0) return status;
    const double pixels = columns * static_cast<double>(step.computed.count);
    status = run_in_parallel(
        tile.channels.count, cost.nanoseconds(pixels, t.problem.boxes_per_channel), parallel_for,
        [&](Index begin, Index end) { return run_channels(step, begin, end); });
    if (status != Status::kOk) return status;
    step.is_first = false;
  }
}

// Calls run(tile, parallel_for) for the tiles of a plan. `bytes` is the size of a tile's memory.
template <typename Run>
Status run_tiles(const BoxConvProblem& p, const BoxReach& reach, const LargePlanesPlan& plan,
                 Index bytes, PixelCost cost, const ParallelFor& parallel_for, const Run& run) {
  const auto run_some = [&](Index begin, Index end, const ParallelFor& inner) {
    const KeptArray<char> memory(bytes);
    if (!memory.ok()) return false;
    bool ok = true;
    for (Index i = begin; i < end && ok; ++i) {
      ok = run({p, reach, plan, plan.tiling.at(i), memory.data()}, inner) == Status::kOk;
    }
    return ok;
  };
  if (plan.shared) {
    return run_some(0, plan.tiling.count(), parallel_for) ? Status::kOk : Status::kOutOfMemory;
  }
  return run_in_parallel(plan.tiling.count(), tile_cost(p, plan.tiling, cost), parallel_for,
                         [&](Index begin, Index end) { return run_some(begin, end, serially); });
}

}  // namespace

template <typename T>
Status large_planes_forward(const BoxConvProblem& p, const BoxReach& reach, const T* input,
                            const float* boxes, T* output, const ParallelFor& parallel_for,
                            bool* ok) {
  const LargePlanesPlan plan = large_planes_forward_plan(p, reach);
  if (plan.tiling.count() == 0) return Status::kOk;
  const Index bytes = BOXCONV_RUN_KERNEL(
      large_planes_forward_bytes<T>({p, reach, plan, plan.tiling.at(0), nullptr}));
  std::atomic<bool> all_ok{true};
  const Status status = run_tiles(
      p, reach, plan, bytes, kForwardCost, parallel_for,
      [&](const LargeTile& t, const ParallelFor& parallel) {
        const T* const image = input + t.tile.image * p.input_stride();
        T* const result = output + t.tile.image * p.output_stride();
        return run_steps(
            t, p.stride_y, kForwardCost, parallel,
            [&](const TileStep& step, Index begin, Index end) {
              BOXCONV_RUN_KERNEL(large_planes_forward_rows(t, step, image, result, begin, end));
            },
            [&](const TileStep& step, Index begin, Index end) {
              return BOXCONV_RUN_KERNEL(
                  large_planes_forward_channels(t, step, image, boxes, &all_ok, begin, end));
            });
      });
  *ok = all_ok;
  return status;
}

template <typename T>
Status large_planes_backward(const BoxConvProblem& p, const BoxReach& reach, const T* input,
                             const float* boxes, const T* output_grad, T* input_grad,
                             float* boxes_grad, const ParallelFor& parallel_for, bool* ok) {
  const LargePlanesPlan plan = large_planes_backward_plan(p, reach);
  PartialEdgeGradients partial(p.batch * plan.tiling.rectangles_per_image(), p.boxes_size());
  if (!partial.ok()) return Status::kOutOfMemory;
  const Index bytes = BOXCONV_RUN_KERNEL(
      large_planes_backward_bytes<T>({p, reach, plan, plan.tiling.at(0), nullptr}));
  std::atomic<bool> all_ok{true};
  const Status status = run_tiles(
      p, reach, plan, bytes, kBackwardCost, parallel_for,
      [&](const LargeTile& t, const ParallelFor& parallel) {
        const T* const image = input + t.tile.image * p.input_stride();
        const T* const image_output_grad = output_grad + t.tile.image * p.output_stride();
        T* const result = input_grad + t.tile.image * p.input_stride();
        return run_steps(
            t, 1, kBackwardCost, parallel,
            [&](const TileStep& step, Index begin, Index end) {
              BOXCONV_RUN_KERNEL(large_planes_backward_rows(t, step, image, image_output_grad,
                                                            result, begin, end));
            },
            [&](const TileStep& step, Index begin, Index end) {
              return BOXCONV_RUN_KERNEL(large_planes_backward_channels(
                  t, step, boxes, image_output_grad, partial.data(), &all_ok, begin, end));
            });
      });
  *ok = all_ok;
  if (status == Status::kOk && *ok) partial.add_to(boxes_grad);
  return status;
}

#define INSTANTIATE(T)                                                                             \
  template Status large_planes_forward<T>(const BoxConvProblem&, const BoxReach&, const T*,        \
                                          const float*, T*, const ParallelFor&, bool*);            \
  template Status large_planes_backward<T>(const BoxConvProblem&, const BoxReach&, const T*,       \
                                           const float*, const T*, T*, float*, const ParallelFor&, \
                                           bool*);
INSTANTIATE(Half)
INSTANTIATE(BFloat16)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace boxconv
