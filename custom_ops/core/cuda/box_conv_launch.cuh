// Launches the kernels of box convolution in order, and divides the workspace between them. The
// template parameter Device is a GPU (device.cuh) or the tests' emulation of a GPU. It has the
// functions
//   device.launch<kernel>(blocks, threads, shared_bytes, arguments...),
//   device.zero(data, bytes).
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
#include "core/cuda/box_conv_plan.h"

namespace boxconv {
namespace cuda {

template <typename T, typename TBox, typename Device>
class BoxConvLauncher {
 public:
  using V = typename PlaneType<T>::type;

  BoxConvLauncher(const BoxConvProblem& problem, const GpuLimits& limits, bool backward,
                  void* workspace = nullptr)
      : p_(problem),
        limits_(limits),
        backward_(backward),
        stride_y_(static_cast<int>(min_index(problem.stride_y, kLongestAxis))),
        stride_x_(static_cast<int>(min_index(problem.stride_x, kLongestAxis))) {
    // With one channel both layouts are the same.
    if (p_.out_channels() == 1) p_.layout = Layout::kChannelsFirst;
    if (p_.height * p_.width * p_.out_channels() == 0) return;
    boxes_ = boxes_of_group(p_);
    const int group = channels_of_group(p_, boxes_);
    constexpr int kProductBytes = kProductCount * sizeof(double);
    columns_ = slide_plan<V>(limits, p_.height, boxes_, group, 0);
    rows_ = slide_plan<V>(limits, p_.width, boxes_, boxes_, 0);
    columns_products_ = slide_plan<V>(limits, p_.height, boxes_, boxes_, kProductBytes);
    rows_products_ = slide_plan<V>(limits, p_.width, boxes_, boxes_, kProductBytes);
    plan_chunk();

    Workspace arrays(workspace);
    const Index boxes = p_.out_channels(), all = chunk_.images * chunk_.boxes;
    const Index sums = all * p_.height * p_.width;
    windows_ = arrays.claim<Window<V>>(kWindowKinds * boxes);
    if (p_.normalization == Normalization::kValid) {
      factors_ = arrays.claim<ValidFactor<V>>(boxes * (p_.height + p_.width));
    }
    sums_ = arrays.claim<V>(sums);
    if (backward) {
      box_sums_ = arrays.claim<V>(p_.boxes_per_channel > 1 ? sums : 0);
      totals_ = arrays.claim<double>(2 * boxes * kProductCount);
      const Index tiles = max_index(tiles_of_chunk(columns_products_, p_.width),
                                    tiles_of_chunk(rows_products_, p_.out_height()));
      products_ = arrays.claim<double>(tiles * boxes_ * kProductCount);
    }
    Index values = 0;  // sums of blocks, of all blocks of threads
    const auto add_plan = [&](const SlidePlan& plan, Index lines) {
      const Index tiles = tiles_of_chunk(plan, lines);
      if (plan.in_shared) return;
      values = max_index(values, min_index(limits.resident_blocks, tiles) * plan.blocks * kWords);
    };
    add_plan(columns_, p_.width);
    add_plan(columns_products_, p_.width);
    add_plan(rows_, p_.out_height());
    add_plan(rows_products_, p_.out_height());
    block_sums_ = arrays.claim<V>(values);
    workspace_size_ = arrays.size();
  }

  std::size_t workspace_size() const { return workspace_size_; }
  // Whether columns and rows fit in shared memory, for tests.
  bool columns_in_shared() const { return columns_.in_shared; }
  bool rows_in_shared() const { return rows_.in_shared; }

  void forward(Device& device, const T* input, const TBox* boxes, T* output) const {
    if (p_.output_size() == 0) return;
    launch_tables(device, boxes);
    for_each_chunk([&](const Chunk& chunk) {
      sum_columns(device, chunk, input);
      auto call = make_call<V, T>(chunk, rows_, kRows, p_.width, p_.out_height());
      call.source = turned(sums_lines<const V>(sums_, chunk, p_.out_height(), p_.width));
      call.output = output_rows(output, chunk);
      use_factors(&call);
      launch<Compute::kSums>(device, call);
    });
  }

  void backward(Device& device, const T* input, const TBox* boxes, const T* output_grad,
                T* input_grad, TBox* boxes_grad) const {
    const Index count = p_.out_channels() * kProductCount;
    if (p_.input_size() * p_.out_channels() == 0) {
      device.zero(input_grad, static_cast<std::size_t>(p_.input_size()) * sizeof(T));
      device.zero(boxes_grad, static_cast<std::size_t>(p_.boxes_size()) * sizeof(TBox));
      return;
    }
    launch_tables(device, boxes);
    device.zero(totals_, static_cast<std::size_t>(2 * count) * sizeof(double));
    for_each_chunk([&](const Chunk& chunk) {
      sum_gradient_rows(device, chunk, output_grad);
      if (p_.boxes_per_channel == 1) {
        sum_gradient_columns(device, chunk, input, input_columns(input_grad, chunk));
      } else {
        sum_gradient_columns(
            device, chunk, input,
            columns_of(box_sums_, p_.height, p_.width, chunk.boxes, chunk.first_box));
        const Index m = p_.boxes_per_channel, c = chunk.first_box / m;
        T* const target = input_grad + chunk.first_image * p_.height * p_.width * p_.channels;
        launch_elements<add_boxes<T, V>>(
            device, chunk.images * p_.height * p_.width * chunk.boxes / m, p_, chunk.images, c,
            chunk.boxes / m, static_cast<const V*>(box_sums_), target);
      }
      sum_columns(device, chunk, input);
      multiply_rows(device, chunk, output_grad);
    });
    launch_elements<set_boxes_grad<V, TBox>>(
        device, p_.out_channels(), p_, boxes, static_cast<const double*>(totals_),
        static_cast<const double*>(totals_ + count), boxes_grad);
  }

 private:
  static constexpr int kThreads = 128;  // of kernels that have a thread for each element

  // Whole images if at least one fits. Otherwise some groups of one image; in the backward pass,
  // the boxes of a channel stay together.
  void plan_chunk() {
    const Index boxes = p_.out_channels();
    const Index plane_bytes = p_.height * p_.width * static_cast<Index>(sizeof(V));
    const Index planes = max_index(limits_.chunk_bytes / plane_bytes, 1);
    // Lines are counted in 32 bits, over all images of a chunk.
    const Index most = kLongestAxis / max_index(p_.height, p_.width);
    chunk_ = {0, clamp_index(planes / boxes, 1, min_index(max_index(p_.batch, 1), most)), 0, boxes};
    const Index unit = backward_ && boxes_ % p_.boxes_per_channel != 0
                           ? boxes
                           : max_index(planes / boxes_, 1) * boxes_;
    if (planes < boxes) chunk_.boxes = min_index(boxes, unit);
    if (p_.layout == Layout::kChannelsFirst && backward_ && planes < boxes) {
      const Index m = p_.boxes_per_channel;
      chunk_.boxes = min_index(boxes, max_index(planes / m, 1) * m);
    }
  }

  Index tiles_of_chunk(const SlidePlan& plan, Index lines) const {
    return (chunk_.boxes + boxes_ - 1) / boxes_ *
           ((chunk_.images * lines + plan.lines - 1) / plan.lines);
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

  // The columns of images [.., height, width, channels] or [.., channels, height, width].
  template <typename U>
  Lines<U> columns_of(U* data, Index height, Index width, Index channels,
                      Index first_channel) const {
    const Index image = height * width * channels;
    if (p_.layout == Layout::kChannelsFirst) {
      return {data, image, height * width, 1, static_cast<int>(width), first_channel};
    }
    return {data, image, 1, channels, static_cast<int>(width * channels), first_channel};
  }
  // The same values, with lines for positions: rows for columns.
  template <typename U>
  static Lines<U> turned(const Lines<U>& l) {
    return {l.data, l.image, l.channel, l.position, static_cast<int>(l.line), l.first_channel};
  }

  template <typename U>
  Lines<U> input_columns(U* data, const Chunk& chunk) const {
    data += chunk.first_image * p_.height * p_.width * p_.channels;
    return columns_of(data, p_.height, p_.width, p_.channels, 0);
  }
  template <typename U>
  Lines<U> output_rows(U* data, const Chunk& chunk) const {
    const Index height = p_.out_height(), width = p_.out_width(), channels = p_.out_channels();
    data += chunk.first_image * height * width * channels;
    Lines<U> rows = turned(columns_of(data, height, width, channels, 0));
    rows.step = stride_x_;
    return rows;
  }
  // Sums in the workspace: `positions` of each of `lines` lines. Channels first, the positions of
  // a line are neighbours, so that they are stored in packets, and so that the next launch, for
  // which they are lines, reads packets.
  template <typename U>
  Lines<U> sums_lines(U* data, const Chunk& chunk, Index positions, Index lines) const {
    return p_.layout == Layout::kChannelsFirst
               ? turned(columns_of(data, lines, positions, chunk.boxes, chunk.first_box))
               : columns_of(data, positions, lines, chunk.boxes, chunk.first_box);
  }

  template <typename Source, typename Output>
  SlideCall<Source, Output, T> make_call(const Chunk& chunk, const SlidePlan& plan, WindowKind kind,
                                         Index length, Index lines) const {
    SlideCall<Source, Output, T> call;
    call.plan = plan;
    call.length = static_cast<int>(length);
    call.lines_per_image = static_cast<int>(lines);
    call.images = chunk.images;
    call.first_box = chunk.first_box;
    call.end_box = chunk.first_box + chunk.boxes;
    call.windows = windows_ + kind * p_.out_channels();
    call.products = products_;
    call.block_sums = block_sums_;
    return call;
  }
  // "valid": the factors of a call whose lines are rows.
  template <typename Call>
  void use_factors(Call* call) const {
    if (factors_ == nullptr) return;
    call->position_factors = factors_ + p_.height;
    call->line_factors = factors_;
    call->factor_stride = p_.height + p_.width;
    call->line_step = p_.stride_y;
  }

  // sums = x summed down the columns of the boxes.
  void sum_columns(Device& device, const Chunk& chunk, const T* input) const {
    auto call = make_call<T, V>(chunk, columns_, kColumns, p_.height, p_.width);
    call.source = input_columns(input, chunk);
    call.source_boxes = p_.boxes_per_channel;
    call.output = sums_lines(sums_, chunk, p_.out_height(), p_.width);
    call.output.step = stride_y_;
    launch<Compute::kSums>(device, call);
  }
  // sums = g summed along the rows of the mirrored boxes.
  void sum_gradient_rows(Device& device, const Chunk& chunk, const T* output_grad) const {
    auto call = make_call<T, V>(chunk, rows_, kMirroredRows, p_.width, p_.out_height());
    call.source = output_rows(output_grad, chunk);
    call.output = sums_lines(sums_, chunk, p_.width, p_.out_height());
    use_factors(&call);
    call.source_factors = true;
    launch<Compute::kSums>(device, call);
  }
  // input_grad = sums summed down the columns of the mirrored boxes.
  template <typename Output>
  void sum_gradient_columns(Device& device, const Chunk& chunk, const T* input,
                            const Lines<Output>& input_grad) const {
    auto call =
        make_call<V, Output>(chunk, columns_products_, kMirroredColumns, p_.height, p_.width);
    call.source = turned(sums_lines<const V>(sums_, chunk, p_.width, p_.out_height()));
    call.source.step = stride_y_;
    call.output = input_grad;
    call.partner = input_columns(input, chunk);
    call.partner_boxes = p_.boxes_per_channel;
    launch<Compute::kSumsAndProducts>(device, call);
    add_tiles(device, call, totals_);
  }
  void multiply_rows(Device& device, const Chunk& chunk, const T* output_grad) const {
    auto call = make_call<V, V>(chunk, rows_products_, kRowsOutward, p_.width, p_.out_height());
    call.source = turned(sums_lines<const V>(sums_, chunk, p_.out_height(), p_.width));
    call.partner = output_rows(output_grad, chunk);
    use_factors(&call);
    if (p_.normalization == Normalization::kValid) {
      launch<Compute::kSumsAndProducts>(device, call);
    } else {
      launch<Compute::kProducts>(device, call);
    }
    add_tiles(device, call, totals_ + p_.out_channels() * kProductCount);
  }

  void launch_tables(Device& device, const TBox* boxes) const {
    const Index length = factors_ == nullptr ? 0 : p_.height + p_.width;
    launch_elements<make_tables<V, TBox>>(
        device, p_.out_channels() * max_index(kWindowKinds, length), p_, boxes, windows_, factors_);
  }

  template <Compute kCompute, typename Source, typename Output>
  void launch(Device& device, const SlideCall<Source, Output, T>& call) const {
    const SlidePlan& plan = call.plan;
    if (plan.in_shared) {
      device.template launch<slide_lines<kCompute, true, Source, Output, T>>(
          blocks(call.tiles()), plan.threads, plan.shared_bytes, call);
    } else {
      device.template launch<slide_lines<kCompute, false, Source, Output, T>>(
          blocks(min_index(call.tiles(), limits_.resident_blocks)), plan.threads, plan.shared_bytes,
          call);
    }
  }
  template <typename Call>
  void add_tiles(Device& device, const Call& call, double* totals) const {
    const Index boxes = call.end_box - call.first_box;
    device.template launch<add_products>(
        blocks(boxes * kProductCount), kThreads, kThreads * static_cast<int>(sizeof(double)),
        call.tiles(), call.groups(), boxes_, boxes, static_cast<const double*>(products_),
        totals + call.first_box * kProductCount);
  }
  template <auto kKernel, typename... Arguments>
  void launch_elements(Device& device, Index count, const Arguments&... arguments) const {
    device.template launch<kKernel>(blocks((count + kThreads - 1) / kThreads), kThreads, 0,
                                    arguments...);
  }
  int blocks(Index wanted) const { return static_cast<int>(min_index(wanted, limits_.max_blocks)); }

  BoxConvProblem p_;
  const GpuLimits limits_;
  const bool backward_;
  const int stride_y_, stride_x_;
  int boxes_ = 1;  // of a group
  SlidePlan columns_ = {}, rows_ = {}, columns_products_ = {}, rows_products_ = {};
  Chunk chunk_ = {};
  Window<V>* windows_ = nullptr;
  ValidFactor<V>* factors_ = nullptr;
  V *sums_ = nullptr, *box_sums_ = nullptr, *block_sums_ = nullptr;
  double *totals_ = nullptr, *products_ = nullptr;
  std::size_t workspace_size_ = 0;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_LAUNCH_CUH_
