// Launches the kernels of box convolution in order, and divides the workspace between them. The
// template parameter Device is a GPU (device.cuh) or the tests' emulation of a GPU. It has the
// functions
//   device.launch(kernel, blocks, threads, shared_bytes, arguments...),
//   device.zero(data, bytes).
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_LAUNCH_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_LAUNCH_CUH_

#include <cstddef>

#include "core/cuda/box_conv_by_lines_backward.cuh"
#include "core/cuda/box_conv_plan.h"
#include "core/cuda/box_conv_tile_kernels.cuh"

namespace boxconv {
namespace cuda {

// Divides a workspace into arrays, in the order of the calls of claim(). Without memory (nullptr)
// it only adds up their sizes.
class Workspace {
 public:
  explicit Workspace(void* data = nullptr) : data_(static_cast<char*>(data)) {}
  template <typename V>
  V* claim(Index count) {
    V* piece = data_ == nullptr ? nullptr : reinterpret_cast<V*>(data_ + size_);
    size_ += static_cast<std::size_t>(round_up(count * static_cast<Index>(sizeof(V)), 256));
    return piece;
  }
  std::size_t size() const { return size_; }

 private:
  char* data_;
  std::size_t size_ = 0;
};

// Whether 32-bit positions are enough for planes of this size.
inline bool planes_fit(Index height, Index width, Index channels) {
  return height <= kLongestAxis && width <= kLongestAxis &&
         channels < kLongestRow / (width > 0 ? width : 1);
}
constexpr char kPlanesTooLarge[] =
    "planes of more than 2^29 rows or columns, or rows of 2^30 values and more";

template <typename T, typename TBox, typename Device>
class BoxConvLauncher {
 public:
  using V = typename PlaneType<T>::type;

  BoxConvLauncher(const BoxConvProblem& problem, const GpuLimits& limits, bool backward,
                  void* workspace = nullptr)
      : limits_(limits), plan_(plan_detail::Planner<T, V>(problem, limits, backward).plan()) {
    Workspace pieces(workspace);
    const Index boxes = problem.out_channels();
    if (problem.normalization == Normalization::kValid) {
      factors_ = pieces.claim<V>(boxes * (problem.height + problem.width));
    }
    const Index chunk_values = plan_.is_fused() ? 0 : plan_.chunk * plan_.unit_size();
    column_sums_ = pieces.claim<V>(chunk_values);
    if (backward) {
      edges_ = pieces.claim<double>(boxes * 4);
      partial_count_ = plan_.is_fused() ? plan_.parts * plan_.groups * problem.boxes_per_channel
                                        : plan_.chunk * plan_.partials_per_unit();
      partial_count_ *= plan_.group * 4;
      partials_ = pieces.claim<double>(partial_count_);
      input_grad_sums_ = pieces.claim<V>(plan_.sum_in_workspace ? chunk_values : 0);
    }
    workspace_size_ = pieces.size();
  }

  std::size_t workspace_size() const { return workspace_size_; }
  const BoxConvPlan& plan() const { return plan_; }

  void forward(Device& device, const T* input, const TBox* boxes, T* output) const {
    const BoxConvProblem& p = plan_.problem;
    if (p.batch * p.height * p.width * p.out_channels() == 0) return;
    make_factors(device, boxes);
    ForwardCall<T, TBox, V> call = forward_call(input, boxes);
    call.output = output;
    if (plan_.is_fused()) {
      launch(device, fused_forward<T, TBox, V>, plan_.units(), plan_.fused.end, call);
      return;
    }
    for_each_chunk(call, [&](ForwardCall<T, TBox, V>& chunk) {
      sum_columns(device, chunk);
      if (plan_.is_tiled()) {
        launch_rows(device, tiled_forward_rows<T, TBox, V>, p.out_height(), chunk.unit_count,
                    chunk);
      } else {
        launch_rows(device, forward_rows<T, TBox, V>, p.out_height(), chunk.unit_count, chunk);
      }
    });
  }

  void backward(Device& device, const T* input, const TBox* boxes, const T* output_grad,
                T* input_grad, TBox* boxes_grad) const {
    const BoxConvProblem& p = plan_.problem;
    const Index boxes_values = p.out_channels() * 4;
    const Index pixels = p.batch * p.height * p.width * p.channels;
    if (pixels == 0 || boxes_values == 0) {
      device.zero(input_grad, static_cast<std::size_t>(pixels) * sizeof(T));
      device.zero(boxes_grad, static_cast<std::size_t>(boxes_values) * sizeof(TBox));
      return;
    }
    make_factors(device, boxes);
    device.zero(edges_, static_cast<std::size_t>(boxes_values) * sizeof(double));
    BackwardCall<T, TBox, V> call{forward_call(input, boxes), output_grad, input_grad,
                                  input_grad_sums_, partials_};
    if (plan_.is_fused()) {
      clear_partials(device);
      const Index blocks = plan_.parts * plan_.groups;
      launch(device, fused_backward<T, TBox, V>, blocks, plan_.fused.end, call);
      add(device, 0, blocks, 0);
    } else {
      for_each_chunk(call.forward, [&](ForwardCall<T, TBox, V>&) { backward_chunk(device, call); });
    }
    launch_simple(device, round_edges<TBox>, boxes_values, boxes_values,
                  static_cast<const double*>(edges_), boxes_grad);
  }

 private:
  static constexpr int kSimpleThreads = 128;

  ForwardCall<T, TBox, V> forward_call(const T* input, const TBox* boxes) const {
    return {plan_, input, boxes, {factors_}, nullptr, 0, 0, 0, column_sums_};
  }

  void make_factors(Device& device, const TBox* boxes) const {
    const BoxConvProblem& p = plan_.problem;
    if (factors_ == nullptr) return;
    launch_simple(device, valid_factors<V, TBox>, p.out_channels() * (p.height + p.width), p, boxes,
                  factors_);
  }

  // Calls body(call) for each chunk of units and each box of a channel. The boxes are the inner
  // loop, so that their input gradients are added up chunk by chunk.
  template <typename Body>
  void for_each_chunk(ForwardCall<T, TBox, V>& call, const Body& body) const {
    for (Index first = 0; first < plan_.units(); first += plan_.chunk) {
      call.first_unit = first;
      call.unit_count = min_index(plan_.chunk, plan_.units() - first);
      for (Index m = 0; m < plan_.problem.boxes_per_channel; ++m) {
        call.box_of_channel = m;
        body(call);
      }
    }
  }

  void sum_columns(Device& device, const ForwardCall<T, TBox, V>& chunk) const {
    if (plan_.is_tiled()) {
      launch_columns(device, tiled_forward_columns<T, TBox, V>, chunk.unit_count,
                     plan_.column_tile.end, chunk);
    } else {
      launch_columns(device, forward_columns<T, TBox, V>, chunk.unit_count, 0, chunk);
    }
  }

  template <typename Kernel, typename Call>
  void launch_columns(Device& device, Kernel kernel, Index units, int shared_bytes,
                      const Call& call) const {
    launch(device, kernel, units * plan_.column_strips() * plan_.segments(), shared_bytes, call);
  }

  template <typename Kernel, typename Call>
  void launch_rows(Device& device, Kernel kernel, Index rows, Index units, const Call& call) const {
    launch(device, kernel, units * plan_.row_strips(rows),
           plan_.is_tiled() ? plan_.row_tile.end : plan_.shared_bytes, call);
  }

  void backward_chunk(Device& device, const BackwardCall<T, TBox, V>& call) const {
    const BoxConvProblem& p = plan_.problem;
    const Index units = call.forward.unit_count;
    const bool is_valid = p.normalization == Normalization::kValid;
    clear_partials(device);
    if (plan_.is_tiled()) {
      launch_rows(device, tiled_gradient_rows<T, TBox, V>, p.height, units, call);
      launch_columns(device, tiled_gradient_columns<T, TBox, V>, units, plan_.column_tile.end,
                     call);
      launch_rows(device, tiled_input_gradient_rows<T, TBox, V>, p.height, units, call);
    } else {
      launch_rows(device, gradient_rows<T, TBox, V>, p.height, units, call);
      launch_columns(device, gradient_columns<T, TBox, V>, units, plan_.edge_sum_bytes(), call);
      launch_rows(device, input_gradient_rows<T, TBox, V>, p.height, units, call);
    }
    if (is_valid) {
      sum_columns(device, call.forward);
      if (plan_.is_tiled()) {
        launch_rows(device, tiled_valid_rows<T, TBox, V>, p.out_height(), units, call);
      } else {
        launch_rows(device, valid_extent_rows<T, TBox, V>, p.out_height(), units, call);
      }
    }
    add(device, call.forward.first_unit, units, call.forward.box_of_channel);
  }

  void clear_partials(Device& device) const {
    device.zero(partials_, static_cast<std::size_t>(partial_count_) * sizeof(double));
  }

  void add(Device& device, Index first_unit, Index units, Index box_of_channel) const {
    const Index boxes = plan_.problem.channels * boxes_of_call(plan_);
    device.launch(add_partials, blocks(boxes), kAddingThreads,
                  kAddingThreads * static_cast<int>(sizeof(double)), plan_, first_unit, units,
                  box_of_channel, static_cast<const double*>(partials_), edges_);
  }

  int blocks(Index wanted) const { return static_cast<int>(min_index(wanted, limits_.max_blocks)); }

  template <typename Kernel, typename Call>
  void launch(Device& device, Kernel kernel, Index units, int shared_bytes,
              const Call& call) const {
    device.launch(kernel, blocks(units), plan_.threads(), shared_bytes, call);
  }

  template <typename Kernel, typename... Arguments>
  void launch_simple(Device& device, Kernel kernel, Index count, Arguments... arguments) const {
    device.launch(kernel, blocks((count + kSimpleThreads - 1) / kSimpleThreads), kSimpleThreads, 0,
                  arguments...);
  }

  const GpuLimits limits_;
  const BoxConvPlan plan_;
  V *factors_ = nullptr, *column_sums_ = nullptr, *input_grad_sums_ = nullptr;
  double *edges_ = nullptr, *partials_ = nullptr;
  Index partial_count_ = 0;
  std::size_t workspace_size_ = 0;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_LAUNCH_CUH_
