// The steps of the tile kernels. A tile is a rectangle of the planes of a few channels of one
// image. It is kept in shared memory. It covers the whole planes if they fit, otherwise a strip of
// whole columns or of whole rows.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_TILE_BLOCK_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_TILE_BLOCK_CUH_

#include "core/cuda/box_conv_edge_gradients.cuh"
#include "core/cuda/box_conv_lines.cuh"
#include "core/cuda/box_conv_tile.cuh"

namespace boxconv {
namespace cuda {

// All threads of the block must call each method, and a barrier must separate the calls.
template <typename T, typename TBox, typename V>
class TileBlock {
 public:
  BOXCONV_DEVICE TileBlock(const ForwardCall<T, TBox, V>& call, const TilePlan& tile)
      : call_(call), plan_(call.plan), p_(plan_.problem), team_(plan_) {
    unsigned char* shared = dynamic_shared<unsigned char>();
    planes_ = {reinterpret_cast<V*>(shared), tile.rows * tile.row_stride, tile.row_stride};
    added_ = {reinterpret_cast<V*>(shared + tile.added), planes_.plane_size, tile.row_stride};
    input_ = {reinterpret_cast<T*>(shared + tile.input), planes_.plane_size, tile.row_stride};
    windows_ = reinterpret_cast<LineWindow<V>*>(shared + tile.windows);
    stride_y_ = static_cast<int>(min_index(p_.stride_y, p_.height));
    stride_x_ = static_cast<int>(min_index(p_.stride_x, p_.width));
  }

  // Selects a unit, and box m of each of its channels.
  BOXCONV_DEVICE void begin(Index unit, Index m) {
    unit_ = unit;
    box_ = m;
    first_channel_ = unit % plan_.groups * plan_.group;
    channels_ = static_cast<int>(min_index(plan_.group, p_.channels - first_channel_));
  }
  // The channel and box whose edge gradients this thread sums.
  BOXCONV_DEVICE Target target() const {
    return Target(plan_, team_.channel, call_.boxes, unit_, box_);
  }
  BOXCONV_DEVICE const Team& team() const { return team_; }
  // The sum of the input gradients of several boxes.
  BOXCONV_DEVICE const Tile<V>& added() const { return added_; }
  BOXCONV_DEVICE int stride_y() const { return stride_y_; }

  // Computes the windows of the selected box of each channel, or of the mirrored box: first the
  // windows down columns, then those along rows.
  BOXCONV_DEVICE void make_windows(bool backward) const {
    const int threads = static_cast<int>(blockDim.x);
    for (int i = static_cast<int>(threadIdx.x); i < 2 * plan_.group; i += threads) {
      const Target target(plan_, i % plan_.group, call_.boxes, unit_, box_);
      const BoxEdges box = backward ? backward_box(target.edges) : target.edges;
      windows_[i] =
          i < plan_.group ? column_window<V>(p_, target, box) : row_window<V>(p_, target, box);
    }
  }

  // Loads the input into the planes, or into a copy that stays while the planes are summed.
  BOXCONV_DEVICE void load_input(const Region& region) const {
    load_planes(input_planes(call_.input, region), [&](int channel, int y, int x, const T& value) {
      planes_.at(channel, y, x) = widen(value);
    });
  }
  BOXCONV_DEVICE void keep_input(const Region& region) const {
    load_planes(input_planes(call_.input, region), [&](int channel, int y, int x, const T& value) {
      input_.at(channel, y, x) = value;
    });
  }
  BOXCONV_DEVICE void take_kept_input(const Region& region) const {
    if (team_.channel >= channels_) return;
    for_each_pixel(0, region.height, 0, region.width, [&](int y, int x) {
      planes_.at(team_.channel, y, x) = widen(input_.at(team_.channel, y, x));
    });
  }

  // Loads the output gradient at the resolution of the input: zero between outputs, and times the
  // factor of "valid".
  BOXCONV_DEVICE void load_gradient(const T* output_grad, const Region& region) const {
    if (stride_y_ > 1 || stride_x_ > 1) {
      const int count = plan_.group * planes_.plane_size, threads = static_cast<int>(blockDim.x);
      for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) planes_.data[i] = 0;
      __syncthreads();
    }
    const auto outputs_before = [](int pixel, int stride) { return (pixel + stride - 1) / stride; };
    Region outputs{outputs_before(region.y, stride_y_), outputs_before(region.x, stride_x_), 0, 0};
    outputs.height = outputs_before(region.y + region.height, stride_y_) - outputs.y;
    outputs.width = outputs_before(region.x + region.width, stride_x_) - outputs.x;
    const int y_first = outputs.y * stride_y_, x_first = outputs.x * stride_x_;
    const Tile<V> tile{&planes_.at(0, y_first - region.y, x_first - region.x), planes_.plane_size,
                       planes_.row_stride};
    const auto gradient = output_planes(output_grad, outputs);
    if (call_.factors.table == nullptr) {
      load_planes(gradient, [&](int channel, int y, int x, const T& value) {
        tile.at(channel, y * stride_y_, x * stride_x_) = widen(value);
      });
    } else {
      load_planes(gradient, [&](int channel, int y, int x, const T& value) {
        y *= stride_y_;
        x *= stride_x_;
        tile.at(channel, y, x) = widen(value) * valid_factor(channel, y_first + y, x_first + x);
      });
    }
  }

  // Loads and stores the workspace sums of a unit, which counts from the start of the chunk. Row y
  // of the tile is row region.y + y * stride of the sums.
  BOXCONV_DEVICE void load_sums(const V* sums, Index unit, const Region& region, int stride) const {
    load_planes(sum_planes(sums, unit, region, stride),
                [&](int channel, int y, int x, V value) { planes_.at(channel, y, x) = value; });
  }
  BOXCONV_DEVICE void store_sums(V* sums, Index unit, const Region& region) const {
    store_planes(sum_planes(sums, unit, region, 1),
                 [&](int channel, int y, int x) { return planes_.at(channel, y, x); });
  }

  BOXCONV_DEVICE void sum_columns(const Region& region) const {
    scan_lines<V>({planes_.data, channels_ * region.width, region.width, planes_.plane_size, 1,
                   planes_.row_stride, region.height},
                  windows_);
  }
  // Sums along rows 0, stride, 2 * stride, ... of each plane, `rows` in total.
  BOXCONV_DEVICE void sum_rows(int rows, int stride) const {
    scan_lines<V>({planes_.data, channels_ * rows, rows, planes_.plane_size,
                   planes_.row_stride * stride, 1, static_cast<int>(p_.width)},
                  windows_ + plan_.group);
  }

  // Stores `rows` rows of the output, starting at `first`. Row i of them is row i * stride of
  // the planes.
  BOXCONV_DEVICE void store_responses(int first, int rows, int stride) const {
    const auto sum = [&](int channel, int y, int x) {
      return planes_.at(channel, y * stride, x * stride_x_);
    };
    const auto output =
        output_planes(call_.output, {first, 0, rows, static_cast<int>(p_.out_width())});
    if (call_.factors.table == nullptr) {
      store_planes(output, sum);
    } else {
      store_planes(output, [&](int channel, int y, int x) {
        return sum(channel, y, x) * valid_factor(channel, (first + y) * stride_y_, x * stride_x_);
      });
    }
  }

  // Adds the gradients of the top and bottom edges. The planes hold the output gradient summed
  // along rows. The bottom edge of the mirrored box is the top edge of the box.
  BOXCONV_DEVICE void add_row_edges(const Region& region, EdgeGradients* gradients) const {
    const Target of = target();
    if (of.edges.empty) return;
    const BoxEdges mirror = backward_box(of.edges);
    gradients->edge[0] -= product_with_input(region, shift_within(mirror.bottom), 0);
    gradients->edge[2] += product_with_input(region, shift_within(mirror.top), 0);
  }
  // Adds the gradients of the left and right edges. The planes hold the output gradient summed down
  // columns.
  BOXCONV_DEVICE void add_column_edges(const Region& region, EdgeGradients* gradients) const {
    const Target of = target();
    if (of.edges.empty) return;
    const BoxEdges mirror = backward_box(of.edges);
    const double scale = common_factor<V>(p_, of.edges);
    gradients->edge[1] -= scale * product_with_input(region, 0, shift_within(mirror.right));
    gradients->edge[3] += scale * product_with_input(region, 0, shift_within(mirror.left));
  }
  // Adds the derivative of "area". The planes hold the box's contribution to the input gradient.
  BOXCONV_DEVICE void add_area_extent(const Region& region, EdgeGradients* gradients) const {
    const Target of = target();
    if (p_.normalization != Normalization::kArea || of.edges.empty) return;
    add_extent_terms(of.edges, product_with_input(region, 0, 0), gradients);
  }
  // Adds the derivative of "valid". The planes hold the sums over boxes, with rows as in
  // store_responses.
  BOXCONV_DEVICE void add_valid_extent(const BackwardCall<T, TBox, V>& call, int first, int rows,
                                       int stride, EdgeGradients* gradients) const {
    const Target of = target();
    if (of.edges.empty) return;
    auto sink = valid_extent_sink(call, of, first);
    for_each_pixel(0, rows, 0, static_cast<int>(p_.out_width()), [&](int y, int x) {
      sink.add(y, x * stride_x_, planes_.at(team_.channel, y * stride, x * stride_x_));
    });
    for (int i = 0; i < 4; ++i) gradients->edge[i] += sink.gradients.edge[i];
  }

  // Adds the planes to the sum of the previous boxes in `added`. For the last box of a channel,
  // stores the input gradient instead.
  BOXCONV_DEVICE void add_input_gradient(T* input_grad, const Region& region,
                                         const Tile<V>& added) const {
    const bool is_first = box_ == 0;
    const auto sum = [&](int channel, int y, int x) {
      const V before = is_first ? V{0} : added.at(channel, y, x);
      return before + planes_.at(channel, y, x);
    };
    if (box_ == p_.boxes_per_channel - 1) {
      store_planes(input_planes(input_grad, region), sum);
    } else if (team_.channel < channels_) {
      for_each_pixel(0, region.height, 0, region.width, [&](int y, int x) {
        added.at(team_.channel, y, x) = sum(team_.channel, y, x);
      });
    }
  }

  // A region of a unit in a workspace buffer with the shape of the column sums.
  BOXCONV_DEVICE Tile<V> workspace_tile(V* data, Index unit, const Region& region) const {
    if (data == nullptr) return {};
    const TensorPlanes<V> planes = sum_planes(data, unit, region, 1);
    return {planes.data, static_cast<int>(planes.channel_stride), planes.row_stride};
  }

 private:
  template <typename U>
  BOXCONV_DEVICE TensorPlanes<U> input_planes(U* data, const Region& region) const {
    return tensor_planes(p_, data, unit_ / plan_.groups, p_.height, p_.width, region,
                         first_channel_, channels_, 1, 0);
  }
  template <typename U>
  BOXCONV_DEVICE TensorPlanes<U> output_planes(U* data, const Region& region) const {
    return tensor_planes(p_, data, unit_ / plan_.groups, p_.out_height(), p_.out_width(), region,
                         first_channel_, channels_, p_.boxes_per_channel, box_);
  }
  // Workspace buffers hold one plane after another, in either layout.
  template <typename U>
  BOXCONV_DEVICE TensorPlanes<U> sum_planes(U* data, Index unit, const Region& region,
                                            int stride) const {
    return {data + unit * plan_.unit_size() + region.y * p_.width + region.x,
            p_.height * p_.width,
            static_cast<int>(p_.width * stride),
            1,
            channels_,
            region.height,
            region.width,
            /*channels_last=*/false};
  }

  // With "valid", the factor of the output at pixel (y, x) of the input.
  BOXCONV_DEVICE V valid_factor(int channel, int y, int x) const {
    const Index box = (first_channel_ + channel) * p_.boxes_per_channel + box_;
    return call_.factors.rows(p_, box)[y] * call_.factors.columns(p_, box)[x];
  }

  // Calls body(y, x) for this thread's share of the pixels [y_begin, y_end) x [x_begin, x_end).
  template <typename Body>
  BOXCONV_DEVICE void for_each_pixel(int y_begin, int y_end, int x_begin, int x_end,
                                     const Body& body) const {
    const int across = plan_.lanes < kWarp ? plan_.lanes : kWarp;
    for (int y = y_begin + team_.lane / across; y < y_end; y += plan_.lanes / across) {
      for (int x = x_begin + team_.lane % across; x < x_end; x += across) body(y, x);
    }
  }

  // This thread's share of the sum of plane[y][x] * input[y - to_y][x - to_x].
  BOXCONV_DEVICE double product_with_input(const Region& region, int to_y, int to_x) const {
    const int height = region.height, width = region.width;
    constexpr int kChain = 8;  // additions in type V between two folds
    LongSum<V> sum;
    int count = 0;
    for_each_pixel(to_y > 0 ? to_y : 0, to_y > 0 ? height : height + to_y, to_x > 0 ? to_x : 0,
                   to_x > 0 ? width : width + to_x, [&](int y, int x) {
                     sum.add(planes_.at(team_.channel, y, x) *
                             widen(input_.at(team_.channel, y - to_y, x - to_x)));
                     if (++count % kChain == 0) sum.fold();
                   });
    sum.fold();
    return sum.total();
  }

  const ForwardCall<T, TBox, V>& call_;
  const BoxConvPlan& plan_;
  const BoxConvProblem& p_;
  const Team team_;
  Tile<V> planes_, added_;
  Tile<T> input_;
  LineWindow<V>* windows_;
  int stride_y_, stride_x_, channels_ = 0;
  Index unit_ = 0, box_ = 0, first_channel_ = 0;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_TILE_BLOCK_CUH_
