// How the adaptive filter's work is shared out.
//
// A thread owns a strip: kRows output pixels below each other, whose windows share rows of X. The strips
// of an image are numbered row of strips by row of strips, so that the lanes of a warp are neighbors in a
// row, whatever the width. A warp takes 32 strips through items: some channels of one group, whose
// weights then stay in registers. Blocks of one run of strips share the items of an image.
#pragma once

#include "kernels/cuda/divide.h"

namespace adroit::cuda {

constexpr int kFilterWarps = 8;
constexpr int kFilterThreads = 32 * kFilterWarps;

// Rows of a strip: as many as the weights of its pixels fit in registers.
ADROIT_HOST_DEVICE constexpr int filter_strip_rows(int kernel_size) {
    return kernel_size == 3 ? 3 : kernel_size == 5 ? 2 : 1;
}

struct FilterPlan {
    int height, width, out_height, out_width;
    int groups, group_channels;
    bool joint_softmax;
    int strips;         // of an image
    int strip_blocks;   // runs of 32 strips of an image
    int item_blocks;    // blocks that share the items of a run of strips
    int group_items;    // items of a group
    int item_channels;  // channels of an item; the last of a group may have fewer

    // Whether the numbers of a plane fit 32 bits. Whole tensors may be larger.
    static bool fits(const AdaptiveFilterShape& s) {
        constexpr int64_t limit = int64_t{1} << 30;
        const int64_t radius = s.kernel_size / 2;
        return (s.kernel_size == 3 || s.kernel_size == 5 || s.kernel_size == 7) && (s.stride == 1 || s.stride == 2) &&
               s.batch >= 1 && s.channels >= 1 && s.groups >= 1 && s.channels % s.groups == 0 && s.height > radius &&
               s.width > radius && s.height <= limit && s.width <= limit && s.height * s.width <= limit &&
               s.channels <= limit && s.groups * s.taps() <= limit;
    }

    FilterPlan(const AdaptiveFilterShape& s, int multiprocessors)
        : height(static_cast<int>(s.height)),
          width(static_cast<int>(s.width)),
          out_height(static_cast<int>(s.out_height())),
          out_width(static_cast<int>(s.out_width())),
          groups(static_cast<int>(s.groups)),
          group_channels(static_cast<int>(s.channels / s.groups)),
          joint_softmax(s.joint_softmax) {
        const int64_t rows = divide_up(out_height, filter_strip_rows(static_cast<int>(s.kernel_size)));
        strips = static_cast<int>(rows * out_width);
        strip_blocks = static_cast<int>(divide_up(strips, 32));
        // Enough warps of work for two blocks a multiprocessor; an item costs a softmax of its own, so a
        // group is not cut below 4 channels.
        const int64_t wanted = divide_up(int64_t{2} * multiprocessors * kFilterWarps, s.batch * strip_blocks);
        const int64_t least = divide_up(kFilterWarps, groups), most = divide_up(group_channels, 4);
        const int64_t items = divide_up(wanted, groups);
        group_items = static_cast<int>(items < least ? least : items);
        if (group_items > most) group_items = static_cast<int>(most);
        item_channels = static_cast<int>(divide_up(group_channels, group_items));
        group_items = static_cast<int>(divide_up(group_channels, item_channels));
        const int64_t blocks = divide_up(int64_t{groups} * group_items, kFilterWarps),
                      useful = divide_up(wanted, kFilterWarps);
        item_blocks = static_cast<int>(blocks < useful ? blocks : useful);
    }
};

// Where index falls after reflection at both ends (the end itself is not repeated).
ADROIT_HOST_DEVICE int reflected(int index, int size) {
    if (index < 0) return -index;
    return index < size ? index : 2 * (size - 1) - index;
}

}  // namespace adroit::cuda
