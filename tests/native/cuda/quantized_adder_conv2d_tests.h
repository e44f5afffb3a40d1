#pragma once

namespace adroit::tests {

// One random shape through the 8-bit kernel, against plain loops: every bit of its result is defined.
bool quantized_adder_conv2d_is_right();

}  // namespace adroit::tests
