// How a kernel spreads independent tasks over threads. Kernels own no threads: the runtime that
// calls them does (ONNX Runtime's session pool), so that its thread setting holds for us too.
#pragma once

#include <cstdint>
#include <functional>

namespace adroit::cpu {

using Task = std::function<void(int64_t index)>;
// `microseconds`: what all tasks together take one thread, roughly, so that little work is not spread.
using ParallelFor = std::function<void(int64_t count, double microseconds, const Task& task)>;

inline void run_serially(int64_t count, double /*microseconds*/, const Task& task) {
    for (int64_t index = 0; index < count; ++index) task(index);
}

}  // namespace adroit::cpu
