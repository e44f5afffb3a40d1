#pragma once

namespace adroit::tests {

// `count` random shapes through every operator and type; says what it ran, and what is wrong.
bool operators_are_right(int count);

}  // namespace adroit::tests
