// What is launched, in which order, and the workspace it needs. The same for a GPU and for the
// emulation in the tests; Device is what launches:
//   device.launch(kernel, blocks, threads, shared bytes, arguments...), device.zero(data, bytes).
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_LAUNCH_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_LAUNCH_CUH_

#include <cstddef>

#include "core/cuda/box_conv_by_lines_backward.cuh"
#include "core/cuda/box_conv_plan.h"
#include "core/cuda/box_conv_tile_kernels.cuh"

namespace boxconv {
namespace cuda {

// Pieces of a workspace, in the order in which they are claimed.
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

// Whether 32 bits hold the positions and steps in planes of this size, of some channels.
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
      record_count_ = plan_.is_fused() ? plan_.parts * plan_.groups * problem.boxes_per_channel
                                       : plan_.chunk * plan_.slots_per_unit();
      record_count_ *= plan_.group * 4;
      records_ = pieces.claim<double>(record_count_);
      apart_ = pieces.claim<V>(plan_.accumulate_apart ? chunk_values : 0);
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
    BackwardCall<T, TBox, V> call{forward_call(input, boxes), output_grad, input_grad, apart_,
                                  records_};
    if (plan_.is_fused()) {
      clear_records(device);
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

  // Boxes of a channel are the inner loop: their input gradients add up chunk by chunk.
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

  // By lines, columns are summed without shared memory, but for what their edge gradients take.
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
    clear_records(device);
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

  void clear_records(Device& device) const {
    device.zero(records_, static_cast<std::size_t>(record_count_) * sizeof(double));
  }

  void add(Device& device, Index first_unit, Index units, Index box_of_channel) const {
    const Index boxes = plan_.problem.channels * boxes_of_call(plan_);
    device.launch(add_records, blocks(boxes), kAddingThreads,
                  kAddingThreads * static_cast<int>(sizeof(double)), plan_, first_unit, units,
                  box_of_channel, static_cast<const double*>(records_), edges_);
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
  V *factors_ = nullptr, *column_sums_ = nullptr, *apart_ = nullptr;
  double *edges_ = nullptr, *records_ = nullptr;
  Index record_count_ = 0;
  std::size_t workspace_size_ = 0;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_LAUNCH_CUH_
