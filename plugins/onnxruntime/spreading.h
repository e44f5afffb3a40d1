// Whether a node's work is spread over the session's threads: where that turns out faster.
//
// On a quiet machine two threads are nearly twice as fast as one. On a busy one a thread that the system stopped
// in the middle of its task keeps the call waiting for milliseconds, which is longer than most nodes take on one
// thread. So a node compares, and looks again from time to time: at every 256th call while it is spread, and ever
// less often, up to every 1024th, while that keeps being slower.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "kernels/cpu/parallel.h"
#include "onnxruntime/adapter.h"

namespace adroit::onnxruntime {

class Spreading {
public:
    // Several threads may call a node at once: what they note may be lost, and then is noted later.
    cpu::ParallelFor threads(const Ort::KernelContext& context) {
        return [this, &context](int64_t count, double microseconds, const cpu::Task& task) {
            if (count == 1 || microseconds < kLeastMicroseconds) return cpu::run_serially(count, microseconds, task);
            bool counts = true;
            const bool spread = decide(counts);
            const auto start = std::chrono::steady_clock::now();
            if (spread)
                // Each task is claimed by whichever thread is free.
                context.ParallelFor([](void* data, size_t index) { (*static_cast<const cpu::Task*>(data))(index); },
                                    static_cast<size_t>(count), static_cast<size_t>(count),
                                    const_cast<cpu::Task*>(&task));
            else
                cpu::run_serially(count, microseconds, task);
            const std::chrono::duration<float, std::micro> taken = std::chrono::steady_clock::now() - start;
            if (!counts) return;
            note(spread ? spread_ : serial_, spread ? limited(taken.count()) : taken.count());
        };
    }

private:
    // To wake another thread and to wait for it takes some microseconds even where it is spinning.
    static constexpr double kLeastMicroseconds = 25.0;
    static constexpr int kTrials = 4;  // the first of each kind is not counted: it wakes threads, or fills caches
    static constexpr int kLookAgain = 256, kFirstWait = 32, kLongestWait = 1024;

    // Calls since the last decision: trials on all threads, trials on one, then what was faster.
    bool decide(bool& counts) {
        const int call = call_++;
        counts = call >= 2 * kTrials || call % kTrials > 0;
        if (call < 2 * kTrials) return call < kTrials;
        const bool faster = spread_ < serial_;
        if (call == 2 * kTrials) wait_ = faster ? kFirstWait : std::min(2 * wait_.load(), kLongestWait);
        // Spread, the other way is known but may have changed: one trial will do.
        if (call - 2 * kTrials >= (faster ? kLookAgain : wait_.load())) call_ = faster ? 2 * kTrials - 1 : 0;
        return faster;
    }

    // Twice as long as on one thread at most, so that a single call that was stopped does not change the choice,
    // while several in a row do.
    float limited(float taken) const {
        const float serial = serial_;
        return serial == 0.0f ? taken : std::min(taken, 2.0f * serial);
    }

    static void note(std::atomic<float>& average, float taken) {
        average = average == 0.0f ? taken : average + 0.25f * (taken - average);
    }

    std::atomic<int> call_{0}, wait_{kFirstWait};
    std::atomic<float> serial_{0.0f}, spread_{0.0f};  // microseconds
};

}  // namespace adroit::onnxruntime
