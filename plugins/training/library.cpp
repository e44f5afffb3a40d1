// The kernels of training, as C functions that models/operators/native.py calls: no header of a framework is needed.
// Each returns null, or why it failed.
#include <algorithm>
#include <atomic>
#include <exception>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/cpu/adder_conv2d.h"
#include "kernels/cpu/adder_conv2d_gradient.h"

namespace {

using namespace adroit;

// Less work than this a thread is not worth starting it.
constexpr double kLeastMicroseconds = 200.0;

// Threads are started for each call: a training step's layers take milliseconds.
cpu::ParallelFor over_threads(int64_t most) {
    return [most](int64_t count, double microseconds, const cpu::Task& task) {
        const auto useful = static_cast<int64_t>(microseconds / kLeastMicroseconds);
        const int64_t threads = std::min({most, count, std::max(int64_t{1}, useful)});
        std::atomic<int64_t> next{0};
        std::vector<std::exception_ptr> failures(threads);
        const auto work = [&](int64_t thread) {
            try {
                for (int64_t index; (index = next++) < count;) task(index);
            } catch (...) {
                failures[thread] = std::current_exception();
            }
        };
        std::vector<std::thread> others;
        try {
            for (int64_t thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
        } catch (const std::system_error&) {  // no more threads here: those that there are do all of it
        }
        work(0);
        for (std::thread& other : others) other.join();
        for (const std::exception_ptr& failure : failures)
            if (failure) std::rethrow_exception(failure);
    };
}

template <typename Body>
const char* guarded(const Body& body) {
    thread_local std::string message;
    try {
        body();
        return nullptr;
    } catch (const std::exception& error) {
        message = error.what();
        return message.c_str();
    }
}

}  // namespace

extern "C" {

#define ADROIT_EXPORT __attribute__((visibility("default")))

// Y = -sum |X - W|, float32, contiguous.
ADROIT_EXPORT const char* adroit_adder_conv2d(const AdderConv2dShape* shape, const float* x, const float* weights,
                                              float* y, int64_t threads) {
    return guarded([&] {
        const std::vector<float> scale(shape->out_channels, 1.0f), shift(shape->out_channels, 0.0f);
        const auto packed = cpu::pack_adder_weights(weights, shape->out_channels, shape->taps());
        cpu::adder_conv2d(cpu::plan_adder_conv2d(*shape), x, packed, {scale.data(), shift.data(), nullptr, false}, y,
                          over_threads(threads));
    });
}

ADROIT_EXPORT const char* adroit_adder_conv2d_input_gradient(const AdderConv2dShape* shape, const float* x,
                                                             const float* weights, const float* y_gradient,
                                                             float* x_gradient, int64_t threads) {
    return guarded(
        [&] { cpu::adder_conv2d_input_gradient(*shape, x, weights, y_gradient, x_gradient, over_threads(threads)); });
}

}  // extern "C"
