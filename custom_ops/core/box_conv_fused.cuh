// Kernels for planes that fit a block's shared memory: a tensor is read and written once, by
// packets, and all that is between happens in a tile of a few channels' planes.
#ifndef BOXCONV_CORE_BOX_CONV_FUSED_CUH_
#define BOXCONV_CORE_BOX_CONV_FUSED_CUH_

#include "core/box_conv_edge_gradients.cuh"
#include "core/box_conv_lines.cuh"
#include "core/box_conv_tile.cuh"

namespace boxconv {
namespace BOXCONV_ISA {

// What a block has in shared memory, and what it does with that, forward and backward.
template <typename T, typename TBox, typename V>
class FusedBlock {
 public:
  BOXCONV_DEVICE explicit FusedBlock(const ForwardCall<T, TBox, V>& call)
      : call_(call), plan_(call.plan), p_(plan_.problem), team_(plan_) {
    unsigned char* shared = dynamic_shared<unsigned char>();
    const int height = static_cast<int>(p_.height), plane = height * plan_.row_step;
    planes_ = {reinterpret_cast<V*>(shared), plane, plan_.row_step};
    added_ = {reinterpret_cast<V*>(shared + plan_.fused.added), plane, plan_.row_step};
    input_ = {reinterpret_cast<T*>(shared + plan_.fused.input), plane, plan_.row_step};
    windows_ = reinterpret_cast<LineWindow<V>*>(shared + plan_.fused.windows);
    stride_y_ = static_cast<int>(smaller(p_.stride_y, p_.height));
    stride_x_ = static_cast<int>(smaller(p_.stride_x, p_.width));
  }

  BOXCONV_DEVICE void forward(Index unit, Index m) const {
    make_windows(unit, m, /*backward=*/false);
    load_planes(input_planes(call_.input, unit), [&](int channel, int y, int x, const T& value) {
      planes_.at(channel, y, x) = load(value);
    });
    __syncthreads();
    sum_columns(unit);
    __syncthreads();
    sum_rows(unit, static_cast<int>(p_.out_height()), stride_y_);
    __syncthreads();
    store_responses(unit, m);
    __syncthreads();
  }

  // Keeps the input of a unit in shared memory.
  BOXCONV_DEVICE void keep_input(Index unit) const {
    load_planes(input_planes(call_.input, unit), [&](int channel, int y, int x, const T& value) {
      input_.at(channel, y, x) = value;
    });
    __syncthreads();
  }

  // The gradients of a box of each of the unit's channels, and its part of the input gradient:
  // three passes over planes, of which the last is for "valid" only.
  BOXCONV_DEVICE void backward(Index unit, Index m, const BackwardCall<T, TBox, V>& call,
                               double* record) const {
    const Target target(plan_, team_.channel, call_.boxes, unit, m);
    const bool is_valid = p_.normalization == Normalization::kValid;
    EdgeGradients gradients;
    for (int pass = kRowEdges; pass <= (is_valid ? kValidExtent : kInputGradient); ++pass) {
      const bool of_gradient = pass != kValidExtent;
      make_windows(unit, m, of_gradient);
      if (of_gradient) {
        load_gradient(call.output_grad, unit, m);
      } else {
        take_input(unit);
      }
      __syncthreads();
      if (pass != kRowEdges) {
        sum_columns(unit);
        __syncthreads();
        if (pass == kInputGradient) add_column_edges(target, &gradients);
        __syncthreads();
      }
      sum_rows(unit, static_cast<int>(of_gradient ? p_.height : p_.out_height()),
               of_gradient ? 1 : stride_y_);
      __syncthreads();
      if (pass == kRowEdges) add_row_edges(target, &gradients);
      if (pass == kInputGradient) add_input_gradient(call.input_grad, unit, m, target, &gradients);
      if (pass == kValidExtent) add_valid_extent(call, target, &gradients);
      __syncthreads();
    }
    add_to_record(plan_, team_, gradients, record);
  }

 private:
  enum Pass { kRowEdges, kInputGradient, kValidExtent };

  BOXCONV_DEVICE Index first_channel(Index unit) const { return unit % plan_.groups * plan_.group; }
  template <typename U>
  BOXCONV_DEVICE TensorPlanes<U> input_planes(U* data, Index unit) const {
    return tensor_planes(p_, data, unit / plan_.groups, p_.height, p_.width, first_channel(unit),
                         plan_.group, 1, 0);
  }
  // Of the box m of each channel.
  template <typename U>
  BOXCONV_DEVICE TensorPlanes<U> output_planes(U* data, Index unit, Index m) const {
    return tensor_planes(p_, data, unit / plan_.groups, p_.out_height(), p_.out_width(),
                         first_channel(unit), plan_.group, p_.boxes_per_channel, m);
  }
  BOXCONV_DEVICE int channels(Index unit) const {
    return static_cast<int>(smaller(plan_.group, p_.channels - first_channel(unit)));
  }

  // The windows of a box of each channel, or of the one that stands for it backward: those of all
  // columns, then those of all rows. The next barrier is the caller's.
  BOXCONV_DEVICE void make_windows(Index unit, Index m, bool backward) const {
    const int threads = static_cast<int>(blockDim.x);
    for (int i = static_cast<int>(threadIdx.x); i < 2 * plan_.group; i += threads) {
      const Target target(plan_, i % plan_.group, call_.boxes, unit, m);
      const BoxEdges box = backward ? backward_box(target.edges) : target.edges;
      windows_[i] =
          i < plan_.group ? column_window<V>(p_, target, box) : row_window<V>(p_, target, box);
    }
  }

  BOXCONV_DEVICE void sum_columns(Index unit) const {
    const int width = static_cast<int>(p_.width);
    scan_lines<V>({planes_.data, channels(unit) * width, width, planes_.plane_size, 1,
                   planes_.row_step, static_cast<int>(p_.height)},
                  windows_);
  }
  // The sums of `rows` rows of each plane, every so many.
  BOXCONV_DEVICE void sum_rows(Index unit, int rows, int every) const {
    scan_lines<V>({planes_.data, channels(unit) * rows, rows, planes_.plane_size,
                   planes_.row_step * every, 1, static_cast<int>(p_.width)},
                  windows_ + plan_.group);
  }

  // With "valid", the factor of an output.
  BOXCONV_DEVICE V valid_factor(Index unit, Index m, int channel, int y, int x) const {
    const Index box = (first_channel(unit) + channel) * p_.boxes_per_channel + m;
    return call_.factors.rows(p_, box)[y] * call_.factors.columns(p_, box)[x];
  }

  BOXCONV_DEVICE void store_responses(Index unit, Index m) const {
    const auto sum = [&](int channel, int y, int x) {
      return planes_.at(channel, y * stride_y_, x * stride_x_);
    };
    const auto output = output_planes(call_.output, unit, m);
    if (call_.factors.table == nullptr) {
      store_planes(output, sum);
    } else {
      store_planes(output, [&](int channel, int y, int x) {
        return sum(channel, y, x) * valid_factor(unit, m, channel, y * stride_y_, x * stride_x_);
      });
    }
  }

  // The upstream gradient at the input's pixels: zero between outputs, divided by the valid part.
  BOXCONV_DEVICE void load_gradient(const T* output_grad, Index unit, Index m) const {
    if (stride_y_ > 1 || stride_x_ > 1) {
      const int count = plan_.group * planes_.plane_size, threads = static_cast<int>(blockDim.x);
      for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) planes_.data[i] = 0;
      __syncthreads();
    }
    const auto gradient = output_planes(output_grad, unit, m);
    if (call_.factors.table == nullptr) {
      load_planes(gradient, [&](int channel, int y, int x, const T& value) {
        planes_.at(channel, y * stride_y_, x * stride_x_) = load(value);
      });
    } else {
      load_planes(gradient, [&](int channel, int y, int x, const T& value) {
        y *= stride_y_;
        x *= stride_x_;
        planes_.at(channel, y, x) = load(value) * valid_factor(unit, m, channel, y, x);
      });
    }
  }
  BOXCONV_DEVICE void take_input(Index unit) const {
    if (team_.channel >= channels(unit)) return;
    for_each_pixel(0, static_cast<int>(p_.height), 0, static_cast<int>(p_.width),
                   [&](int y, int x) {
                     planes_.at(team_.channel, y, x) = load(input_.at(team_.channel, y, x));
                   });
  }

  // Calls body(y, x) for the pixels of its channel's plane that this thread has: every so many rows
  // and columns of those in [begin, end).
  template <typename Body>
  BOXCONV_DEVICE void for_each_pixel(int y_begin, int y_end, int x_begin, int x_end,
                                     const Body& body) const {
    const int across = plan_.lanes < kWarp ? plan_.lanes : kWarp;
    for (int y = y_begin + team_.lane / across; y < y_end; y += plan_.lanes / across) {
      for (int x = x_begin + team_.lane % across; x < x_end; x += across) body(y, x);
    }
  }

  // This thread's part of the sum over a plane's pixels (y, x) times the input at (y - to_y,
  // x - to_x).
  BOXCONV_DEVICE double product_with_input(int to_y, int to_x) const {
    const int height = static_cast<int>(p_.height), width = static_cast<int>(p_.width);
    constexpr int kChain = 8;  // that short ones are added up in the planes' type
    LongSum<V> sum;
    int count = 0;
    for_each_pixel(to_y > 0 ? to_y : 0, to_y > 0 ? height : height + to_y, to_x > 0 ? to_x : 0,
                   to_x > 0 ? width : width + to_x, [&](int y, int x) {
                     sum.add(planes_.at(team_.channel, y, x) *
                             load(input_.at(team_.channel, y - to_y, x - to_x)));
                     if (++count % kChain == 0) sum.fold();
                   });
    sum.fold();
    return sum.total();
  }

  // The mirrored box's lower and right edges are the box's upper and left ones.
  BOXCONV_DEVICE void add_row_edges(const Target& target, EdgeGradients* gradients) const {
    if (!target.exists || target.edges.empty) return;
    const BoxEdges mirror = backward_box(target.edges);
    gradients->edge[0] -= product_with_input(shift_within(mirror.bottom), 0);
    gradients->edge[2] += product_with_input(shift_within(mirror.top), 0);
  }
  BOXCONV_DEVICE void add_column_edges(const Target& target, EdgeGradients* gradients) const {
    if (!target.exists || target.edges.empty) return;
    const BoxEdges mirror = backward_box(target.edges);
    const double scale = constant_scale<V>(p_, target.edges);
    gradients->edge[1] -= scale * product_with_input(0, shift_within(mirror.right));
    gradients->edge[3] += scale * product_with_input(0, shift_within(mirror.left));
  }

  // Adds the planes to the input gradient, which is stored with the last of each channel's boxes,
  // and what they are times the input to the gradients.
  BOXCONV_DEVICE void add_input_gradient(T* input_grad, Index unit, Index m, const Target& target,
                                         EdgeGradients* gradients) const {
    if (target.exists && !target.edges.empty && p_.normalization == Normalization::kArea) {
      add_extent_terms(target.edges, product_with_input(0, 0), gradients);
    }
    const bool is_first = m == 0, is_last = m == p_.boxes_per_channel - 1;
    const auto sum = [&](int channel, int y, int x) {
      const V before = is_first ? V{0} : added_.at(channel, y, x);
      return before + planes_.at(channel, y, x);
    };
    if (is_last) {
      store_planes(input_planes(input_grad, unit), sum);
    } else if (target.exists) {
      for_each_pixel(
          0, static_cast<int>(p_.height), 0, static_cast<int>(p_.width),
          [&](int y, int x) { added_.at(team_.channel, y, x) = sum(team_.channel, y, x); });
    }
  }

  // With "valid", what outputs lose as edges grow takes the responses themselves: planes are those
  // before they are divided.
  BOXCONV_DEVICE void add_valid_extent(const BackwardCall<T, TBox, V>& call, const Target& target,
                                       EdgeGradients* gradients) const {
    if (!target.exists || target.edges.empty) return;
    auto sink = valid_extent_sink(call, target, 0);
    for_each_pixel(0, static_cast<int>(p_.out_height()), 0, static_cast<int>(p_.out_width()),
                   [&](int y, int x) {
                     sink.add(y, x * stride_x_,
                              planes_.at(team_.channel, y * stride_y_, x * stride_x_));
                   });
    for (int i = 0; i < 4; ++i) gradients->edge[i] += sink.gradients.edge[i];
  }

  const ForwardCall<T, TBox, V>& call_;
  const BoxConvPlan& plan_;
  const BoxConvProblem& p_;
  const Team team_;
  Tile<V> planes_, added_;
  Tile<T> input_;
  LineWindow<V>* windows_;
  int stride_y_, stride_x_;
};

template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) fused_forward(ForwardCall<T, TBox, V> call) {
  const FusedBlock<T, TBox, V> block(call);
  for (Index unit = blockIdx.x; unit < call.plan.units(); unit += gridDim.x) {
    for (Index m = 0; m < call.plan.problem.boxes_per_channel; ++m) block.forward(unit, m);
  }
}

// A block has some images of a group of channels, and a record for each of their boxes.
template <typename T, typename TBox, typename V>
__global__ void __launch_bounds__(kMaxThreads) fused_backward(BackwardCall<T, TBox, V> call) {
  const BoxConvPlan& plan = call.forward.plan;
  const BoxConvProblem& p = plan.problem;
  const FusedBlock<T, TBox, V> block(call.forward);
  for (Index slot = blockIdx.x; slot < plan.parts * plan.groups; slot += gridDim.x) {
    double* records = call.records + slot * p.boxes_per_channel * plan.group * 4;
    for (Index image = slot / plan.groups; image < p.batch; image += plan.parts) {
      const Index unit = image * plan.groups + slot % plan.groups;
      block.keep_input(unit);
      for (Index m = 0; m < p.boxes_per_channel; ++m) {
        block.backward(unit, m, call, records + m * plan.group * 4);
      }
    }
  }
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_FUSED_CUH_
