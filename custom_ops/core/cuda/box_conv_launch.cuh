// Launches the kernels of box convolution in order, and divides the workspace between them. Tests
// replace device.cuh by an emulation of a GPU.
//
// The forward pass, with x the input and the sums in the workspace:
//
//     sums   = x summed down the columns of the boxes
//     output = sums summed along the rows
//
// The backward pass, with g the output gradient and m the mirrored boxes:
//
//     sums        = g summed along the rows of m
//     input_grad  = sums summed down the columns of m; its products with x give d loss / d y
//     sums        = x summed down the columns of the boxes
//     products of the rows of these sums with g give d loss / d x
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_LAUNCH_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_LAUNCH_CUH_

#include "core/cuda/box_conv_kernels.cuh"
#include "core/cuda/device.cuh"

namespace boxconv {
namespace cuda {

template <typename T, typename TBox>
class BoxConvLauncher {
 public:
  using V = typename PlaneType<T>::type;

  // Without a workspace, only workspace_size() may be called.
  BoxConvLauncher(Device& device, const BoxConvProblem& problem, bool backward,
                  void* workspace = nullptr)
      : device_(device), p_(problem) {
    // With one channel both layouts are the same.
    if (p_.out_channels() == 1) p_.layout = Layout::kChannelsFirst;
    p_.stride_y = min_index(p_.stride_y, kLongestAxis);
    p_.stride_x = min_index(p_.stride_x, kLongestAxis);
    if (p_.input_size() * p_.out_channels() == 0) return;
    boxes_of_group_ = boxes_of_group(p_);
    const GpuLimits& limits = device.limits();
    chunk_ = largest_chunk(p_, limits.chunk_bytes, boxes_of_group_, sizeof(V));

    Workspace arrays(workspace);
    const Index boxes = p_.out_channels();
    const Index sums = chunk_.images * chunk_.boxes * p_.height * p_.width;
    windows_ = arrays.claim<Window<V>>(kWindowKinds * boxes);
    if (p_.normalization == Normalization::kValid) {
      factors_ = arrays.claim<ValidFactor<V>>(boxes * (p_.height + p_.width));
    }
    sums_ = arrays.claim<V>(sums);
    if (backward) {
      box_sums_ = arrays.claim<V>(p_.boxes_per_channel > 1 ? sums : 0);
      totals_ = arrays.claim<double>(2 * boxes * kProductCount);
    }
    // The launches of a chunk use the same memory for their products, and for tiles that are too
    // large for shared memory.
    Index products = 0, tile_bytes = 0, most_tiles = 1;
    for (const bool rows : {false, true}) {
      const SlidePlan plan = plan_of(rows ? p_.width : p_.height, boxes_of_group_, backward);
      const Index lines = chunk_.images * (rows ? p_.out_height() : p_.width);
      const Index tiles =
          (chunk_.boxes + plan.boxes - 1) / plan.boxes * ((lines + plan.lines - 1) / plan.lines);
      products = max_index(products, tiles * plan.boxes * kProductCount);
      most_tiles = max_index(most_tiles, tiles);
      if (!plan.in_shared) tile_bytes = max_index(tile_bytes, plan.tile_bytes);
    }
    if (backward) products_ = arrays.claim<double>(products);
    if (tile_bytes > 0) {
      resident_tiles_ = clamp_index(kTileChunks * limits.chunk_bytes / tile_bytes, 1,
                                    min_index(limits.resident_blocks, most_tiles));
      tiles_ = arrays.claim<V>(resident_tiles_ * tile_bytes / static_cast<Index>(sizeof(V)));
    }
    workspace_size_ = arrays.size();
  }

  std::size_t workspace_size() const { return workspace_size_; }

  // The plan of lines in `group` channels of the source.
  SlidePlan plan_of(Index length, int group, bool has_products) const {
    return slide_plan(device_.limits(), length, boxes_of_group_, group, sizeof(V),
                      has_products ? kProductCount * static_cast<int>(sizeof(double)) : 0);
  }

  void forward(const T* input, const TBox* boxes, T* output) const {
    if (p_.output_size() == 0) return;
    make_windows(boxes);
    for_each_chunk([&](const Chunk& chunk) {
      sum_columns(chunk, input);
      auto call = make_call<V, T>(chunk, kRows);
      call.source = sums_as_rows(chunk);
      call.output = output_rows(output, chunk);
      launch<Compute::kSums>(call);
    });
  }

  void backward(const T* input, const TBox* boxes, const T* output_grad, T* input_grad,
                TBox* boxes_grad) const {
    if (p_.input_size() * p_.out_channels() == 0) {
      device_.zero(input_grad, static_cast<std::size_t>(p_.input_size()) * sizeof(T));
      device_.zero(boxes_grad, static_cast<std::size_t>(p_.boxes_size()) * sizeof(TBox));
      return;
    }
    const Index count = p_.out_channels() * kProductCount;
    double *const down = totals_, *const along = totals_ + count;
    make_windows(boxes);
    device_.zero(totals_, static_cast<std::size_t>(2 * count) * sizeof(double));
    for_each_chunk([&](const Chunk& chunk) {
      sum_gradient_rows(chunk, output_grad);
      if (p_.boxes_per_channel == 1) {
        sum_gradient_columns(chunk, input, input_columns(input_grad, chunk), down);
      } else {
        sum_gradient_columns(chunk, input, columns_of(box_sums_, p_.height, p_.width, chunk.boxes),
                             down);
        add_input_gradients(chunk, input_grad);
      }
      sum_columns(chunk, input);
      multiply_rows(chunk, output_grad, along);
    });
    launch_elements<set_boxes_grad<V, TBox>>(p_.out_channels(), p_, boxes,
                                             static_cast<const double*>(down),
                                             static_cast<const double*>(along), boxes_grad);
  }

 private:
  static constexpr int kThreads = 128;  // of kernels that have a thread for each element
  // Memory for tiles that are too large for shared memory, in chunks of sums.
  static constexpr Index kTileChunks = 8;

  // The columns of images [.., height, width, channels] or [.., channels, height, width].
  template <typename U>
  Lines<U> columns_of(U* data, Index height, Index width, Index channels) const {
    const Index image = height * width * channels;
    return p_.layout == Layout::kChannelsFirst
               ? Lines<U>{data, image, height * width, 1, static_cast<int>(width)}
               : Lines<U>{data, image, 1, channels, static_cast<int>(width * channels)};
  }
  // The same values, with lines for positions: rows for columns.
  template <typename U>
  static Lines<U> turned(const Lines<U>& l) {
    return {l.data, l.image, l.channel, l.position, static_cast<int>(l.line)};
  }
  // The columns of a chunk, whose first channel is `channel`.
  template <typename U>
  Lines<U> tensor_columns(U* data, const Chunk& chunk, Index height, Index width, Index channels,
                          Index channel) const {
    Lines<U> columns = columns_of(data, height, width, channels);
    columns.data += chunk.first_image * columns.image + channel * columns.channel;
    return columns;
  }
  template <typename U>
  Lines<U> input_columns(U* data, const Chunk& chunk) const {
    return tensor_columns(data, chunk, p_.height, p_.width, p_.channels,
                          chunk.first_box / p_.boxes_per_channel);
  }
  template <typename U>
  Lines<U> output_rows(U* data, const Chunk& chunk) const {
    Lines<U> rows = turned(tensor_columns(data, chunk, p_.out_height(), p_.out_width(),
                                          p_.out_channels(), chunk.first_box));
    rows.step = static_cast<int>(p_.stride_x);
    return rows;
  }
  // Sums in the workspace: `positions` of each of `lines` lines. Channels first, the positions of
  // a line are neighbours, so that they are stored in packets, and so that the next launch, for
  // which they are lines, reads packets.
  Lines<V> sums_lines(const Chunk& chunk, Index positions, Index lines) const {
    return p_.layout == Layout::kChannelsFirst
               ? turned(columns_of(sums_, lines, positions, chunk.boxes))
               : columns_of(sums_, positions, lines, chunk.boxes);
  }
  static Lines<const V> constant(const Lines<V>& l) {
    return {l.data, l.image, l.channel, l.line, l.position};
  }
  // The rows of the sums of sum_columns.
  Lines<const V> sums_as_rows(const Chunk& chunk) const {
    return constant(turned(sums_lines(chunk, p_.out_height(), p_.width)));
  }

  // A call whose lines are the columns or rows of the images of a chunk. The source has a channel
  // for each of source_boxes boxes.
  template <typename Source, typename Output>
  SlideCall<Source, Output, T> make_call(const Chunk& chunk, WindowKind kind,
                                         bool has_products = false, Index source_boxes = 1) const {
    const bool down = kind == kColumns || kind == kMirroredColumns;
    SlideCall<Source, Output, T> call;
    call.length = static_cast<int>(down ? p_.height : p_.width);
    call.plan = plan_of(
        call.length, source_boxes == 1 ? boxes_of_group_ : channels_of_group(p_, boxes_of_group_),
        has_products);
    call.lines_per_image = static_cast<int>(down ? p_.width : p_.out_height());
    call.images = chunk.images;
    call.boxes = chunk.boxes;
    call.windows = windows_ + kind * p_.out_channels() + chunk.first_box;
    call.source_boxes = source_boxes;
    if (!down && factors_ != nullptr) {
      call.factors = factors_ + chunk.first_box * (p_.height + p_.width);
      call.factor_rows = p_.height;
      call.line_step = p_.stride_y;
    }
    call.products = products_;
    call.tiles = tiles_;
    return call;
  }

  // sums = x summed down the columns of the boxes.
  void sum_columns(const Chunk& chunk, const T* input) const {
    auto call = make_call<T, V>(chunk, kColumns, false, p_.boxes_per_channel);
    call.source = input_columns(input, chunk);
    call.output = sums_lines(chunk, p_.out_height(), p_.width);
    call.output.step = static_cast<int>(p_.stride_y);
    launch<Compute::kSums>(call);
  }
  // sums = g summed along the rows of the mirrored boxes.
  void sum_gradient_rows(const Chunk& chunk, const T* output_grad) const {
    auto call = make_call<T, V>(chunk, kMirroredRows);
    call.source = output_rows(output_grad, chunk);
    call.output = sums_lines(chunk, p_.width, p_.out_height());
    call.source_factors = call.factors != nullptr;
    launch<Compute::kSums>(call);
  }
  // input_grad = sums summed down the columns of the mirrored boxes.
  template <typename Output>
  void sum_gradient_columns(const Chunk& chunk, const T* input, const Lines<Output>& input_grad,
                            double* totals) const {
    auto call = make_call<V, Output>(chunk, kMirroredColumns, true);
    call.source = constant(turned(sums_lines(chunk, p_.width, p_.out_height())));
    call.source.step = static_cast<int>(p_.stride_y);
    call.output = input_grad;
    call.partner = input_columns(input, chunk);
    call.partner_boxes = p_.boxes_per_channel;
    launch<Compute::kSumsAndProducts>(call);
    add_tiles(chunk, call, totals);
  }
  void multiply_rows(const Chunk& chunk, const T* output_grad, double* totals) const {
    auto call = make_call<V, V>(chunk, kRowsOutward, true);
    call.source = sums_as_rows(chunk);
    call.partner = output_rows(output_grad, chunk);
    if (call.factors != nullptr) {
      launch<Compute::kSumsAndProducts>(call);
    } else {
      launch<Compute::kProducts>(call);
    }
    add_tiles(chunk, call, totals);
  }
  void add_input_gradients(const Chunk& chunk, T* input_grad) const {
    const Index channels = chunk.boxes / p_.boxes_per_channel;
    launch_elements<add_boxes<T, V>>(chunk.images * p_.height * p_.width * channels, p_,
                                     chunk.images, channels, static_cast<const V*>(box_sums_),
                                     input_columns(input_grad, chunk).data);
  }
  void make_windows(const TBox* boxes) const {
    const Index length = factors_ == nullptr ? 0 : p_.height + p_.width;
    launch_elements<make_tables<V, TBox>>(p_.out_channels() * max_index(kWindowKinds, length), p_,
                                          boxes, windows_, factors_);
  }

  template <Compute kCompute, typename Source, typename Output>
  void launch(const SlideCall<Source, Output, T>& call) const {
    const SlidePlan& plan = call.plan;
    if (plan.in_shared) {
      device_.template launch<slide_lines<kCompute, true, Source, Output, T>>(
          call.tile_count(), plan.threads, plan.shared_bytes, call);
    } else {
      device_.template launch<slide_lines<kCompute, false, Source, Output, T>>(
          min_index(call.tile_count(), resident_tiles_), plan.threads, plan.shared_bytes, call);
    }
  }
  template <typename Call>
  void add_tiles(const Chunk& chunk, const Call& call, double* totals) const {
    device_.template launch<add_products>(
        chunk.boxes * kProductCount, kThreads, kThreads * static_cast<int>(sizeof(double)),
        call.tile_count(), call.groups(), boxes_of_group_, chunk.boxes,
        static_cast<const double*>(products_), totals + chunk.first_box * kProductCount);
  }
  template <auto kKernel, typename... Arguments>
  void launch_elements(Index count, const Arguments&... arguments) const {
    device_.template launch<kKernel>((count + kThreads - 1) / kThreads, kThreads, 0, arguments...);
  }
  template <typename Body>
  void for_each_chunk(const Body& body) const {
    const Index boxes = p_.out_channels();
    for (Index image = 0; image < p_.batch; image += chunk_.images) {
      for (Index box = 0; box < boxes; box += chunk_.boxes) {
        body(Chunk{image, min_index(chunk_.images, p_.batch - image), box,
                   min_index(chunk_.boxes, boxes - box)});
      }
    }
  }

  Device& device_;
  BoxConvProblem p_;
  int boxes_of_group_ = 1;
  Chunk chunk_ = {};  // the largest
  Window<V>* windows_ = nullptr;
  ValidFactor<V>* factors_ = nullptr;
  V *sums_ = nullptr, *box_sums_ = nullptr, *tiles_ = nullptr;
  Index resident_tiles_ = 0;
  double *totals_ = nullptr, *products_ = nullptr;
  std::size_t workspace_size_ = 0;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_LAUNCH_CUH_
