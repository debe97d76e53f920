// The kernels for tiles in shared memory. core/cpu/box_conv_backward.h has the formulas of the
// backward pass.
//
// Fused kernels handle planes that fit in shared memory. Tiled kernels handle larger planes. One of
// them sums strips of whole columns and writes the sums to the workspace; the next one sums strips
// of whole rows of these sums.
//
// Each block stores its edge gradients separately. add_partials then sums them in a fixed order,
// without atomics, so that repeated calls give bit-identical results.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_TILE_KERNELS_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_TILE_KERNELS_CUH_

#include "core/cuda/box_conv_tile_block.cuh"

namespace boxconv {
namespace cuda {

BOXCONV_DEVICE Region whole_plane(const BoxConvProblem& p) {
  return {0, 0, static_cast<int>(p.height), static_cast<int>(p.width)};
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) fused_forward(ForwardCall<T, TBox, V> call) {
  const BoxConvPlan& plan = call.plan;
  const BoxConvProblem& p = plan.problem;
  const Region plane = whole_plane(p);
  TileBlock<T, TBox, V> block(call, plan.fused);
  for (Index unit = blockIdx.x; unit < plan.units(); unit += gridDim.x) {
    for (Index m = 0; m < p.boxes_per_channel; ++m) {
      block.begin(unit, m);
      block.make_windows(/*backward=*/false);
      block.load_input(plane);
      __syncthreads();
      block.sum_columns(plane);
      __syncthreads();
      block.sum_rows(static_cast<int>(p.out_height()), block.stride_y());
      __syncthreads();
      block.store_responses(0, static_cast<int>(p.out_height()), block.stride_y());
      __syncthreads();
    }
  }
}

// Computes the gradients of the selected box of each channel, in two passes over the planes, or
// three for the normalization "valid".
template <typename T, typename TBox, typename V>
BOXCONV_DEVICE void fused_gradients(const TileBlock<T, TBox, V>& block,
                                    const BackwardCall<T, TBox, V>& call, double* partial) {
  enum Pass { kRowEdges, kInputGradient, kValidExtent };
  const BoxConvProblem& p = call.forward.plan.problem;
  const Region plane = whole_plane(p);
  const int last = p.normalization == Normalization::kValid ? kValidExtent : kInputGradient;
  EdgeGradients gradients;
  for (int pass = kRowEdges; pass <= last; ++pass) {
    const bool backward = pass != kValidExtent;
    const int rows = static_cast<int>(backward ? p.height : p.out_height());
    const int stride = backward ? 1 : block.stride_y();
    if (pass != kInputGradient) block.make_windows(backward);  // that pass reuses the windows
    if (backward) {
      block.load_gradient(call.output_grad, plane);
    } else {
      block.take_kept_input(plane);
    }
    __syncthreads();
    if (pass != kRowEdges) {
      block.sum_columns(plane);
      __syncthreads();
      if (pass == kInputGradient) block.add_column_edges(plane, &gradients);
      __syncthreads();
    }
    block.sum_rows(rows, stride);
    __syncthreads();
    if (pass == kRowEdges) block.add_row_edges(plane, &gradients);
    if (pass == kInputGradient) {
      block.add_area_extent(plane, &gradients);
      block.add_input_gradient(call.input_grad, plane, block.added());
    }
    if (pass == kValidExtent) block.add_valid_extent(call, 0, rows, stride, &gradients);
    __syncthreads();
  }
  add_to_partial(call.forward.plan, block.team(), gradients, partial);
}

// A block handles some images of a channel group, and sums their edge gradients.
template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) fused_backward(BackwardCall<T, TBox, V> call) {
  const BoxConvPlan& plan = call.forward.plan;
  const BoxConvProblem& p = plan.problem;
  TileBlock<T, TBox, V> block(call.forward, plan.fused);
  for (Index part = blockIdx.x; part < plan.parts * plan.groups; part += gridDim.x) {
    double* partials = call.partials + part * p.boxes_per_channel * plan.group * 4;
    for (Index image = part / plan.groups; image < p.batch; image += plan.parts) {
      for (Index m = 0; m < p.boxes_per_channel; ++m) {
        block.begin(image * plan.groups + part % plan.groups, m);
        if (m == 0) block.keep_input(whole_plane(p));
        fused_gradients(block, call, partials + m * plan.group * 4);
      }
    }
  }
}

// Calls body(unit, strip, region_of(strip)) for each strip of this block. `unit` counts from the
// start of the chunk.
template <typename T, typename TBox, typename V, typename RegionOf, typename Body>
BOXCONV_DEVICE void for_each_strip(const ForwardCall<T, TBox, V>& call, Index strips,
                                   TileBlock<T, TBox, V>* block, const RegionOf& region_of,
                                   const Body& body) {
  for (Index i = blockIdx.x; i < call.unit_count * strips; i += gridDim.x) {
    const Index unit = i / strips, strip = i % strips;
    block->begin(call.first_unit + unit, call.box_of_channel);
    body(unit, strip, region_of(static_cast<int>(strip)));
  }
}
template <typename T, typename TBox, typename V, typename Body>
BOXCONV_DEVICE void for_each_column_strip(const ForwardCall<T, TBox, V>& call,
                                          TileBlock<T, TBox, V>* block, const Body& body) {
  const Region plane = whole_plane(call.plan.problem);
  const int columns = call.plan.column_tile.columns;
  const auto region_of = [&](int strip) {
    const int x = strip * columns, left = plane.width - x;
    return Region{0, x, plane.height, left < columns ? left : columns};
  };
  for_each_strip(call, call.plan.column_strips(), block, region_of, body);
}
// `height` is the number of rows to divide into strips: of the planes, or of the outputs.
template <typename T, typename TBox, typename V, typename Body>
BOXCONV_DEVICE void for_each_row_strip(const ForwardCall<T, TBox, V>& call, Index height,
                                       TileBlock<T, TBox, V>* block, const Body& body) {
  const int width = static_cast<int>(call.plan.problem.width), rows = call.plan.row_tile.rows;
  const auto region_of = [&](int strip) {
    const int y = strip * rows, left = static_cast<int>(height) - y;
    return Region{y, 0, left < rows ? left : rows, width};
  };
  for_each_strip(call, call.plan.row_strips(height), block, region_of, body);
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) tiled_forward_columns(ForwardCall<T, TBox, V> call) {
  TileBlock<T, TBox, V> block(call, call.plan.column_tile);
  for_each_column_strip(call, &block, [&](Index unit, Index, const Region& region) {
    block.make_windows(/*backward=*/false);
    block.load_input(region);
    __syncthreads();
    block.sum_columns(region);
    __syncthreads();
    block.store_sums(call.column_sums, unit, region);
    __syncthreads();
  });
}

// Sums along the rows of the plane that belong to some rows of the output.
template <typename T, typename TBox, typename V>
BOXCONV_DEVICE void sum_output_rows(const ForwardCall<T, TBox, V>& call,
                                    const TileBlock<T, TBox, V>& block, Index unit,
                                    const Region& outputs) {
  const int stride = block.stride_y();
  block.make_windows(/*backward=*/false);
  block.load_sums(call.column_sums, unit, {outputs.y * stride, 0, outputs.height, outputs.width},
                  stride);
  __syncthreads();
  block.sum_rows(outputs.height, 1);
  __syncthreads();
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) tiled_forward_rows(ForwardCall<T, TBox, V> call) {
  TileBlock<T, TBox, V> block(call, call.plan.row_tile);
  const Index rows = call.plan.problem.out_height();
  for_each_row_strip(call, rows, &block, [&](Index unit, Index, const Region& region) {
    sum_output_rows(call, block, unit, region);
    block.store_responses(region.y, region.height, 1);
    __syncthreads();
  });
}

// Sums the output gradient along rows, into the workspace.
template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) tiled_gradient_rows(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  TileBlock<T, TBox, V> block(forward, forward.plan.row_tile);
  const Index rows = forward.plan.problem.height;
  for_each_row_strip(forward, rows, &block, [&](Index unit, Index, const Region& region) {
    block.make_windows(/*backward=*/true);
    block.load_gradient(call.output_grad, region);
    __syncthreads();
    block.sum_rows(region.height, 1);
    __syncthreads();
    block.store_sums(forward.column_sums, unit, region);
    __syncthreads();
  });
}

// Reads these sums for the top and bottom edges. Replaces them by the output gradient summed down
// columns.
template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads)
    tiled_gradient_columns(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  TileBlock<T, TBox, V> block(forward, forward.plan.column_tile);
  for_each_column_strip(forward, &block, [&](Index unit, Index strip, const Region& region) {
    EdgeGradients gradients;
    block.make_windows(/*backward=*/true);
    block.keep_input(region);
    block.load_sums(forward.column_sums, unit, region, 1);
    __syncthreads();
    block.add_row_edges(region, &gradients);
    __syncthreads();
    block.load_gradient(call.output_grad, region);
    __syncthreads();
    block.sum_columns(region);
    __syncthreads();
    block.store_sums(forward.column_sums, unit, region);
    __syncthreads();
    add_to_partial(forward.plan, block.team(), gradients, partial_of(call, unit, strip));
  });
}

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads)
    tiled_input_gradient_rows(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  TileBlock<T, TBox, V> block(forward, forward.plan.row_tile);
  const Index rows = forward.plan.problem.height;
  for_each_row_strip(forward, rows, &block, [&](Index unit, Index strip, const Region& region) {
    EdgeGradients gradients;
    block.make_windows(/*backward=*/true);
    block.keep_input(region);
    block.load_sums(forward.column_sums, unit, region, 1);
    __syncthreads();
    block.add_column_edges(region, &gradients);
    __syncthreads();
    block.sum_rows(region.height, 1);
    __syncthreads();
    block.add_area_extent(region, &gradients);
    block.add_input_gradient(call.input_grad, region,
                             block.workspace_tile(call.input_grad_sums, unit, region));
    __syncthreads();
    add_to_partial(forward.plan, block.team(), gradients, partial_of(call, unit, strip));
  });
}

// Adds the derivative of "valid". The workspace holds the sums of tiled_forward_columns.
template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) tiled_valid_rows(BackwardCall<T, TBox, V> call) {
  const ForwardCall<T, TBox, V>& forward = call.forward;
  TileBlock<T, TBox, V> block(forward, forward.plan.row_tile);
  const Index rows = forward.plan.problem.out_height();
  for_each_row_strip(forward, rows, &block, [&](Index unit, Index strip, const Region& region) {
    EdgeGradients gradients;
    sum_output_rows(forward, block, unit, region);
    block.add_valid_extent(call, region.y, region.height, 1, &gradients);
    __syncthreads();
    add_to_partial(forward.plan, block.team(), gradients, partial_of(call, unit, strip));
  });
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_TILE_KERNELS_CUH_
