// How a problem is cut into units of work: one image's block of neighbouring channels each.
#ifndef BOXCONV_CORE_CHANNEL_BLOCKS_H_
#define BOXCONV_CORE_CHANNEL_BLOCKS_H_

#include "core/box_conv.h"
#include "core/platform.h"

namespace boxconv {
namespace BOXCONV_ISA {

struct ChannelBlock {
  Index image, first, count;  // channels [first, first + count) of an image
};

struct ChannelBlocks {
  Index channels, size, per_image;

  ChannelBlocks(const BoxConvProblem& p, Index value_bytes) : channels(p.channels) {
    // Sixteen floats are one cache line of a channels-last image; large planes take fewer so that
    // a thread's scratch stays a few planes, but never so few that most of each line is wasted.
    constexpr Index kLine = 16, kFewest = 4, kScratchBytes = Index{1} << 21;
    const Index pixels = p.height * p.width + p.boxes_per_channel * p.out_height() * p.out_width();
    const Index fitting = kScratchBytes / (pixels * value_bytes + 1);
    size = p.layout == Layout::kChannelsFirst ? 1
           : fitting >= kLine                 ? kLine
           : fitting >= 2 * kFewest           ? 2 * kFewest
                                              : kFewest;
    if (size > channels) size = channels;
    per_image = size > 0 ? (channels + size - 1) / size : 0;
  }

  ChannelBlock at(Index unit) const {
    const Index first = unit % per_image * size;
    return {unit / per_image, first, first + size <= channels ? size : channels - first};
  }
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CHANNEL_BLOCKS_H_
