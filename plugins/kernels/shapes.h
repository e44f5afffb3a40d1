// The shapes of the operators' tensors, shared by the kernels of every device and by the adapters.
#pragma once

#include <cstdint>
#include <tuple>

namespace adroit {

struct AdderConv2dShape {
    int64_t batch, in_channels, height, width;          // X: N C H W
    int64_t out_channels, kernel_height, kernel_width;  // W: M C kH kW
    int64_t stride_height, stride_width;
    int64_t pad_top, pad_left, pad_bottom, pad_right;

    int64_t taps() const { return in_channels * kernel_height * kernel_width; }
    int64_t out_height() const { return (height + pad_top + pad_bottom - kernel_height) / stride_height + 1; }
    int64_t out_width() const { return (width + pad_left + pad_right - kernel_width) / stride_width + 1; }
    int64_t out_pixels() const { return out_height() * out_width(); }

    auto sizes() const {
        return std::tie(batch, in_channels, height, width, out_channels, kernel_height, kernel_width, stride_height,
                        stride_width, pad_top, pad_left, pad_bottom, pad_right);
    }
    friend bool operator==(const AdderConv2dShape& a, const AdderConv2dShape& b) { return a.sizes() == b.sizes(); }
};

constexpr int64_t kMaxFilterSize = 7;

struct AdaptiveFilterShape {
    int64_t batch, channels, height, width;  // X: N C H W; height and width above kernel_size / 2
    int64_t kernel_size, stride, groups;     // kernel_size odd and at most kMaxFilterSize; groups divides channels
    bool joint_softmax;

    int64_t taps() const { return kernel_size * kernel_size; }
    int64_t out_height() const { return (height + stride - 1) / stride; }
    int64_t out_width() const { return (width + stride - 1) / stride; }

    auto sizes() const { return std::tie(batch, channels, height, width, kernel_size, stride, groups, joint_softmax); }
    friend bool operator==(const AdaptiveFilterShape& a, const AdaptiveFilterShape& b) {
        return a.sizes() == b.sizes();
    }
};

struct RoutingGateShape {
    int64_t batch, channels, height, width;  // X: N C H W
    int64_t hidden, paths;                   // W1: Hd C; W2: P Hd
    int64_t shrink;                          // 1 or 4

    int64_t rows() const { return height / shrink; }
    int64_t columns() const { return width / shrink; }
    int64_t positions() const { return rows() * columns(); }

    auto sizes() const { return std::tie(batch, channels, height, width, hidden, paths, shrink); }
    friend bool operator==(const RoutingGateShape& a, const RoutingGateShape& b) { return a.sizes() == b.sizes(); }
};

struct RoutingDecisionShape {
    int64_t batch, paths, nodes;  // gates: N P; belongs: P S
    int64_t reached, flags;       // columns of the matrices with a row for each state

    int64_t states() const { return paths + 3 * nodes; }
};

struct BilinearUpsampleShape {
    int64_t planes, height, width;  // X: N C H W, planes = N * C
    int64_t factor;                 // 2 or 4

    int64_t out_height() const { return height * factor; }
    int64_t out_width() const { return width * factor; }
};

}  // namespace adroit
