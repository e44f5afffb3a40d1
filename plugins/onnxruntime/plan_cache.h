// The plan of a node's kernel for the shapes of its latest calls, made once for each shape.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

namespace adroit::onnxruntime {

// `Plan` has the member `shape`, which it was made for. Several threads may call one node at once, with shapes of
// their own: a call holds its plan until it ends, whatever the others put in its place.
template <typename Plan>
class PlanCache {
public:
    // The plan for `shape`: the kept one, or make(shape).
    template <typename Shape, typename Make>
    std::shared_ptr<const Plan> find(const Shape& shape, const Make& make) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            for (const auto& plan : plans_)
                if (plan && plan->shape == shape) return plan;
        }
        auto plan = std::make_shared<const Plan>(make(shape));
        const std::lock_guard<std::mutex> lock(mutex_);
        plans_[oldest_] = plan;
        oldest_ = (oldest_ + 1) % kShapes;
        return plan;
    }

private:
    // A server alternates between a few batch sizes.
    static constexpr std::size_t kShapes = 4;

    std::mutex mutex_;
    std::shared_ptr<const Plan> plans_[kShapes];
    std::size_t oldest_ = 0;
};

}  // namespace adroit::onnxruntime
