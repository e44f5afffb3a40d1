#pragma once

namespace adroit::tests {

// The arithmetic that the launchers do on the host: divisions by multiplication, and the choice of a tile.
bool plans_are_right();

}  // namespace adroit::tests
