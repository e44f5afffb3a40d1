// Where the adder convolution's sums find their operands: the index arithmetic of its kernels. The sum
// is seen as a product of W [filters][taps] and the windows of X [taps][pixels], with pixels counted
// over the whole batch, so that small maps fill a tile together.
#pragma once

#include "kernels/cuda/divide.h"

namespace adroit::cuda {

// A window of X: the first element that an output pixel meets, in channel 0.
struct Window {
    int64_t offset;   // in X; may lie outside the image
    int row, column;  // negative in the padding
};

// A tap: its element's distance from a window's first one, and its place in the window.
struct alignas(16) Tap {
    int64_t offset;
    int row, column;
};

// An output pixel: its image, and its place in a plane.
struct Pixel {
    int64_t image, place;
};

struct AdderGeometry {
    int64_t pixels;  // of the whole batch
    int64_t image_size, plane, out_plane;
    int height, width, out_width, filters, taps;
    int stride_height, stride_width, pad_top, pad_left;
    FastDivider window, kernel_width;

    // Whether the shape's numbers fit the 32-bit ones here.
    static bool fits(const AdderConv2dShape& s) {
        constexpr int64_t limit = int64_t{1} << 30;
        for (int64_t size : {s.height + s.pad_top + s.pad_bottom, s.width + s.pad_left + s.pad_right, s.out_channels,
                             s.taps(), s.stride_height, s.stride_width})
            if (size < 1 || size > limit) return false;
        return s.out_height() >= 1 && s.out_width() >= 1 && s.batch >= 1;
    }

    explicit AdderGeometry(const AdderConv2dShape& s)
        : pixels(s.batch * s.out_pixels()),
          image_size(s.in_channels * s.height * s.width),
          plane(s.height * s.width),
          out_plane(s.out_pixels()),
          height(static_cast<int>(s.height)),
          width(static_cast<int>(s.width)),
          out_width(static_cast<int>(s.out_width())),
          filters(static_cast<int>(s.out_channels)),
          taps(static_cast<int>(s.taps())),
          stride_height(static_cast<int>(s.stride_height)),
          stride_width(static_cast<int>(s.stride_width)),
          pad_top(static_cast<int>(s.pad_top)),
          pad_left(static_cast<int>(s.pad_left)),
          window(static_cast<int>(s.kernel_height * s.kernel_width)),
          kernel_width(static_cast<int>(s.kernel_width)) {}

    ADROIT_HOST_DEVICE Pixel pixel_at(int64_t pixel) const {
        const int64_t image = pixel / out_plane;
        return {image, pixel - image * out_plane};
    }

    // Past the last pixel: a window that lies in the padding with all its taps.
    ADROIT_HOST_DEVICE Window window_of(int64_t pixel) const {
        if (pixel >= pixels) return {0, -(1 << 30) - 1, 0};
        const Pixel at = pixel_at(pixel);
        const int out_row = static_cast<int>(at.place / out_width);
        const int row = out_row * stride_height - pad_top;
        const int column = static_cast<int>(at.place - int64_t{out_row} * out_width) * stride_width - pad_left;
        return {at.image * image_size + int64_t{row} * width + column, row, column};
    }

    // Past the last tap: one that lies in the padding of every window.
    ADROIT_HOST_DEVICE Tap tap_at(int tap) const {
        if (tap >= taps) return {0, 1 << 30, 0};
        const int channel = window.divide(tap), in_window = tap - channel * window.divisor;
        const int row = kernel_width.divide(in_window), column = in_window - row * kernel_width.divisor;
        return {channel * plane + int64_t{row} * width + column, row, column};
    }

    // Whether a tap lies in the image, for a window that begins at row and column. Unsigned: a negative place is then
    // past the end, too.
    ADROIT_HOST_DEVICE bool is_inside(int row, int column, const Tap& tap) const {
        return static_cast<unsigned>(row) + static_cast<unsigned>(tap.row) < static_cast<unsigned>(height) &&
               static_cast<unsigned>(column) + static_cast<unsigned>(tap.column) < static_cast<unsigned>(width);
    }

    ADROIT_HOST_DEVICE int64_t output(const Pixel& at, int filter) const {
        return (at.image * filters + filter) * out_plane + at.place;
    }
};

}  // namespace adroit::cuda
