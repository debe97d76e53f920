// Runs core on a problem, with buffers of exact size and random splits of the work.
#ifndef BOXCONV_TESTS_FUZZ_RUN_CORE_H_
#define BOXCONV_TESTS_FUZZ_RUN_CORE_H_

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "core.h"
#include "number_types.h"
#include "problem.h"
#include "random.h"

namespace boxconv {
namespace fuzz {

// An array that ends where its memory ends, so that the address sanitizer notices accesses beyond
// the last element. Initially all bytes are 0xff, which is a NaN in each number type.
template <typename T>
class Buffer {
 public:
  Buffer(Index count, bool misaligned)
      : count_(static_cast<std::size_t>(count)),
        offset_(misaligned ? 1 : 0),
        bytes_(new unsigned char[(count_ + offset_) * sizeof(T)]) {
    std::memset(bytes_.get(), 0xff, (count_ + offset_) * sizeof(T));
  }
  Buffer(const std::vector<double>& values, bool misaligned)
      : Buffer(static_cast<Index>(values.size()), misaligned) {
    std::transform(values.begin(), values.end(), data(), encode<T>);
  }

  std::size_t size() const { return count_; }
  T* data() { return reinterpret_cast<T*>(bytes_.get()) + offset_; }
  const T* data() const { return reinterpret_cast<const T*>(bytes_.get()) + offset_; }
  double value(std::size_t i) const { return decode(data()[i]); }

  bool same_bits(const Buffer& other) const {
    return std::memcmp(data(), other.data(), count_ * sizeof(T)) == 0;
  }
  // Whether the element before the array still has its initial bits.
  bool prefix_untouched() const {
    const unsigned char* const prefix = bytes_.get();
    return std::all_of(prefix, prefix + offset_ * sizeof(T),
                       [](unsigned char byte) { return byte == 0xff; });
  }

 private:
  std::size_t count_, offset_;
  std::unique_ptr<unsigned char[]> bytes_;
};

// Splits the work into random ranges, in random order. They run in the calling thread, or each in a
// thread of its own.
class RandomSplit {
 public:
  RandomSplit(std::uint64_t seed, Index threads) : random_(seed), threads_(threads) {}

  void operator()(Index total, Index, const std::function<void(Index, Index)>& body) {
    std::vector<std::pair<Index, Index>> ranges = cut(total);
    for (std::size_t i = ranges.size(); i > 1; --i) {
      std::swap(ranges[i - 1],
                ranges[static_cast<std::size_t>(random_.below(static_cast<Index>(i)))]);
    }
    std::vector<std::thread> started;
    for (const auto& [begin, end] : ranges) {
      if (threads_ > 1) {
        started.emplace_back(body, begin, end);
      } else {
        body(begin, end);
      }
    }
    for (std::thread& thread : started) thread.join();
  }

 private:
  std::vector<std::pair<Index, Index>> cut(Index total) {
    const Index max_ranges = threads_ > 1 ? threads_ : total;
    std::vector<Index> cuts{0, total};
    for (Index i = 1; i < max_ranges; ++i) cuts.push_back(random_.between(0, total));
    std::sort(cuts.begin(), cuts.end());
    std::vector<std::pair<Index, Index>> ranges;
    for (std::size_t i = 1; i < cuts.size(); ++i) {
      if (cuts[i - 1] < cuts[i]) ranges.emplace_back(cuts[i - 1], cuts[i]);
    }
    return ranges;
  }

  Random random_;
  Index threads_;
};

template <typename T>
struct Arguments {
  using Box = typename BoxType<T>::type;
  Buffer<T> input, output_grad;
  Buffer<Box> boxes;

  explicit Arguments(const Problem& p)
      : input(p.input, p.misaligned),
        output_grad(p.output_grad, p.misaligned),
        boxes(p.boxes, p.misaligned) {}

  bool same_bits(const Arguments& other) const {
    return input.same_bits(other.input) && output_grad.same_bits(other.output_grad) &&
           boxes.same_bits(other.boxes);
  }
};

template <typename T>
struct Results {
  using Box = typename BoxType<T>::type;
  Buffer<T> output, input_grad;
  Buffer<Box> boxes_grad;
  bool ok;

  Results(const Problem& p, const Arguments<T>& arguments, const ParallelFor& parallel_for)
      : output(p.shape.output_size(), p.misaligned),
        input_grad(p.shape.input_size(), p.misaligned),
        boxes_grad(p.shape.boxes_size(), p.misaligned) {
    const Status forward = box_conv_forward(p.shape, arguments.input.data(), arguments.boxes.data(),
                                            output.data(), parallel_for);
    const Status backward = box_conv_backward(p.shape, arguments.input.data(),
                                              arguments.boxes.data(), arguments.output_grad.data(),
                                              input_grad.data(), boxes_grad.data(), parallel_for);
    ok = forward == Status::kOk && backward == Status::kOk && output.prefix_untouched() &&
         input_grad.prefix_untouched() && boxes_grad.prefix_untouched();
  }
};

template <typename T>
struct SeparableArguments {
  using Box = typename BoxType<T>::type;
  Buffer<T> input;
  Buffer<Box> boxes;
  Buffer<T> kernel, bias, output_grad;

  explicit SeparableArguments(const Problem& p)
      : input(p.input, p.misaligned),
        boxes(p.boxes, p.misaligned),
        kernel(p.kernel, p.misaligned),
        bias(p.bias, p.misaligned),
        output_grad(p.mixed_grad, p.misaligned) {}

  bool same_bits(const SeparableArguments& other) const {
    return input.same_bits(other.input) && boxes.same_bits(other.boxes) &&
           kernel.same_bits(other.kernel) && bias.same_bits(other.bias) &&
           output_grad.same_bits(other.output_grad);
  }
};

template <typename T>
struct SeparableResults {
  using Box = typename BoxType<T>::type;
  Buffer<T> output, input_grad;
  Buffer<Box> boxes_grad;
  Buffer<T> kernel_grad, bias_grad;
  bool ok;

  SeparableResults(const Problem& p, const SeparableArguments<T>& arguments,
                   const ParallelFor& parallel_for)
      : output(p.separable().output_size(), p.misaligned),
        input_grad(p.shape.input_size(), p.misaligned),
        boxes_grad(p.shape.boxes_size(), p.misaligned),
        kernel_grad(p.separable().kernel_size(), p.misaligned),
        bias_grad(p.filters, p.misaligned) {
    const SeparableArguments<T>& a = arguments;
    const Status forward =
        separable_box_conv_forward(p.separable(), a.input.data(), a.boxes.data(), a.kernel.data(),
                                   a.bias.data(), output.data(), parallel_for);
    const Status backward = separable_box_conv_backward(
        p.separable(), a.input.data(), a.boxes.data(), a.kernel.data(), a.output_grad.data(),
        input_grad.data(), boxes_grad.data(), kernel_grad.data(), bias_grad.data(), parallel_for);
    ok = forward == Status::kOk && backward == Status::kOk && output.prefix_untouched() &&
         input_grad.prefix_untouched() && boxes_grad.prefix_untouched() &&
         kernel_grad.prefix_untouched() && bias_grad.prefix_untouched();
  }
};

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_RUN_CORE_H_
