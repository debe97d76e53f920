// The separable box convolution against the fuzzer's reference, for each combination of type,
// layout and normalization, and on several threads.
#include <cstdint>
#include <string>
#include <vector>

#include "../fuzz/problem.h"
#include "../fuzz/properties.h"
#include "../fuzz/run_core.h"
#include "check.h"

namespace boxconv {
namespace {

using fuzz::NumberType;

void check_problem(const fuzz::Problem& problem) {
  const test::Trace trace(fuzz::describe(problem) + ", " + instruction_set());
  const fuzz::Report report = fuzz::check_separable(problem);
  for (const std::string& failure : report.failures) test::fail(__FILE__, __LINE__, failure);
}

// Calls call(type, layout, normalization) for each combination.
template <typename Call>
void for_each_kind(const Call& call) {
  for (const NumberType type :
       {NumberType::kFloat16, NumberType::kBFloat16, NumberType::kFloat32, NumberType::kFloat64}) {
    for (const Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      for (const Normalization normalization :
           {Normalization::kNone, Normalization::kArea, Normalization::kValid}) {
        call(type, layout, normalization);
      }
    }
  }
}

// Takes one element after the other, and then the first again.
template <typename Value>
class Cycle {
 public:
  explicit Cycle(std::vector<Value> values) : values_(std::move(values)) {}
  const Value& next() { return values_[next_++ % values_.size()]; }

 private:
  std::vector<Value> values_;
  std::size_t next_ = 0;
};

struct Size {
  Index batch, height, width, channels;
};

// The lists have lengths without a common divisor, so that all pairs of their elements meet.
TEST(each_type_layout_and_normalization_agrees_with_the_reference) {
  Cycle<Size> sizes({{1, 1, 1, 1},
                     {2, 5, 7, 3},
                     {1, 13, 9, 17},
                     {9, 3, 5, 8},
                     {3, 11, 31, 2},
                     {1, 33, 2, 5},
                     {2, 1, 129, 1}});
  Cycle<Index> filters({1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 64, 65, 67});
  Cycle<Index> boxes({1, 2, 3, 4, 5, 6, 7, 8});
  Cycle<Index> strides({1, 1, 2, 3, 1});
  std::uint64_t seed = 0;
  for_each_kind([&](NumberType type, Layout layout, Normalization normalization) {
    for (int i = 0; i < 12; ++i) {
      const Size& size = sizes.next();
      SeparableBoxConvProblem p;
      p.box_conv.batch = size.batch;
      p.box_conv.height = size.height;
      p.box_conv.width = size.width;
      p.box_conv.channels = size.channels;
      p.box_conv.boxes_per_channel = boxes.next();
      p.box_conv.stride_y = strides.next();
      p.box_conv.stride_x = strides.next();
      p.box_conv.layout = layout;
      p.box_conv.normalization = normalization;
      p.filters = filters.next();
      check_problem(fuzz::make_problem(++seed, type, p));
    }
  });
}

TEST(sizes_of_zero) {
  for_each_kind([](NumberType type, Layout layout, Normalization normalization) {
    Index BoxConvProblem::* const sizes[] = {&BoxConvProblem::batch, &BoxConvProblem::height,
                                             &BoxConvProblem::width, &BoxConvProblem::channels,
                                             &BoxConvProblem::boxes_per_channel};
    for (std::size_t i = 0; i < 6; ++i) {
      SeparableBoxConvProblem p;
      p.box_conv.batch = 2, p.box_conv.height = 3, p.box_conv.width = 4;
      p.box_conv.channels = 5, p.box_conv.boxes_per_channel = 2, p.filters = 3;
      p.box_conv.layout = layout;
      p.box_conv.normalization = normalization;
      (i < 5 ? p.box_conv.*sizes[i] : p.filters) = 0;
      check_problem(fuzz::make_problem(i, type, p));
    }
  });
}

// Core takes the images in groups if all responses need more than 2 MiB.
TEST(several_groups_of_images_agree_with_the_reference) {
  for (const Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
    SeparableBoxConvProblem p;
    p.box_conv.batch = 11, p.box_conv.height = 33, p.box_conv.width = 37;
    p.box_conv.channels = 5, p.box_conv.boxes_per_channel = 9, p.filters = 3;
    p.box_conv.layout = layout;
    check_problem(fuzz::make_problem(3, NumberType::kFloat64, p));
  }
}

template <typename T>
void check_threads(const fuzz::Problem& problem) {
  const test::Trace trace(fuzz::describe(problem) + ", " + instruction_set());
  const fuzz::SeparableArguments<T> arguments(problem);
  const fuzz::SeparableResults<T> want(problem, arguments, on_threads(1));
  for (const Index threads : {1, 2, 4}) {
    const fuzz::SeparableResults<T> got(problem, arguments,
                                        fuzz::RandomSplit(problem.seed, threads));
    CHECK(got.ok);
    CHECK(got.output.same_bits(want.output));
    CHECK(got.input_grad.same_bits(want.input_grad));
    CHECK(got.boxes_grad.same_bits(want.boxes_grad));
    CHECK(got.kernel_grad.same_bits(want.kernel_grad));
    CHECK(got.bias_grad.same_bits(want.bias_grad));
  }
}

// Several groups of images, many small images, and a plane of several tiles.
TEST(same_bits_on_one_two_and_four_threads) {
  for_each_kind([](NumberType type, Layout layout, Normalization normalization) {
    for (const Size& size : {Size{3, 17, 23, 37}, Size{33, 6, 5, 12}, Size{1, 300, 9, 4}}) {
      SeparableBoxConvProblem p;
      p.box_conv.batch = size.batch;
      p.box_conv.height = size.height;
      p.box_conv.width = size.width;
      p.box_conv.channels = size.channels;
      p.box_conv.boxes_per_channel = 3;
      p.box_conv.layout = layout;
      p.box_conv.normalization = normalization;
      p.filters = 21;
      const fuzz::Problem problem = fuzz::make_problem(7, type, p);
      fuzz::with_type(type, [&](auto t) { check_threads<decltype(t)>(problem); });
    }
  });
}

}  // namespace
}  // namespace boxconv
