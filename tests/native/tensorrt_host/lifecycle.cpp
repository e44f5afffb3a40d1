// What happens to a plugin between build and run: serialized, made again, cloned, attached to the
// contexts of several threads, given its shapes.
#include <atomic>
#include <cstring>
#include <thread>

#include "case.h"

namespace host {

namespace {

constexpr int kThreads = 8, kRounds = 100;

bool same_names(const Plugin& a, const Plugin& b) {
    return !std::strcmp(a.core->getPluginName(), b.core->getPluginName()) &&
           !std::strcmp(a.core->getPluginVersion(), b.core->getPluginVersion()) &&
           !std::strcmp(a.core->getPluginNamespace(), b.core->getPluginNamespace());
}

int32_t tell_shapes(nvinfer1::IPluginV3OneRuntime& runtime, const Case& node, const Sizes& sizes) {
    const auto inputs = described(node.inputs, sizes), outputs = described(node.outputs, sizes);
    return runtime.onShapeChange(inputs.data(), static_cast<int32_t>(inputs.size()), outputs.data(),
                                 static_cast<int32_t>(outputs.size()));
}

void check_copies(Checks& checks, nvinfer1::IPluginCreatorV3One& creator, const Case& node, Plugin& plugin) {
    const std::string state = serialized(*plugin.runtime);
    for (const Field& field : node.fields)
        checks.expect(!node.exact || state.find(field.name + ":") != std::string::npos,
                      field.name + " is not serialized");
    Plugin again(creator.createPlugin("", plugin.runtime->getFieldsToSerialize(), nvinfer1::TensorRTPhase::kRUNTIME));
    if (checks.expect(bool(again), "no plugin is made from the serialized fields"))
        checks.expect(serialized(*again.runtime) == state && same_names(again, plugin), "made again, it is another");
    Plugin clone(plugin.owner->clone()), clone_of_clone(clone.owner ? clone.owner->clone() : nullptr);
    if (!checks.expect(clone && clone_of_clone, "no clone is made")) return;
    const char* id = plugin.build->getTimingCacheID();
    checks.expect(id && *id, "the timing cache ID is null: every build would time the plugin anew");
    const std::string own_id = id ? id : "";
    const char* clones_id = clone_of_clone.build->getTimingCacheID();
    checks.expect(clones_id && own_id == clones_id, "a clone has another timing cache ID");
    // The copy lives on when what it was made from is gone.
    again.owner.reset();
    clone.owner.reset();
    plugin.owner.reset();
    checks.expect(serialized(*clone_of_clone.runtime) == state, "a clone is another");
    Context context;
    Plugin attached(clone_of_clone.runtime->attachToContext(&context));
    clone_of_clone.owner.reset();
    if (!checks.expect(bool(attached), "attachToContext gives no plugin")) return;
    checks.expect(serialized(*attached.runtime) == state, "attached to a context, it is another");
    checks.expect(tell_shapes(*attached.runtime, node, node.draw(0)) == 0, "onShapeChange refuses shapes that fit");
    checks.expect(context.recorder().getNbErrors() == 0, "reported: " + context.recorder().text());
    for (const std::vector<nvinfer1::Dims>& misfit : node.misfits) {
        auto inputs = described(node.inputs, node.draw(0));
        const auto outputs = described(node.outputs, node.draw(0));
        if (!checks.expect(misfit.size() == inputs.size(), "a misfit has too few shapes")) continue;
        for (size_t i = 0; i < misfit.size(); ++i) inputs[i].dims = misfit[i];
        context.recorder().clear();
        const int32_t code = attached.runtime->onShapeChange(inputs.data(), static_cast<int32_t>(inputs.size()),
                                                             outputs.data(), static_cast<int32_t>(outputs.size()));
        const bool recorded = context.recorder().getNbErrors() == 1;
        checks.expect(code != 0 && recorded, "a misfit is taken, or refused without a reason in the error recorder");
    }
}

void check_threads(Checks& checks, const Plugin& plugin, const Case& node) {
    std::atomic<int> wrong{0};
    const std::string state = serialized(*plugin.runtime);
    const auto work = [&](int thread) {
        Context context;
        Plugin own(plugin.runtime->attachToContext(&context));
        for (int round = 0; own && round < kRounds; ++round) {
            wrong += tell_shapes(*own.runtime, node, node.draw(static_cast<uint32_t>(thread * kRounds + round))) != 0;
            const Plugin clone(plugin.owner->clone());
            wrong += !clone || serialized(*clone.runtime) != state;
        }
        wrong += !own;
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
    checks.expect(wrong == 0, std::to_string(wrong) + " calls went wrong on " + std::to_string(kThreads) + " threads");
}

// More of anything never needs less memory: TensorRT asks once, for the largest shapes.
void check_workspace(Checks& checks, const Plugin& plugin, const Case& node) {
    const auto workspace = [&](const Sizes& sizes) {
        const auto inputs = ranged(node.inputs, sizes), outputs = ranged(node.outputs, sizes);
        return plugin.build->getWorkspaceSize(inputs.data(), static_cast<int32_t>(inputs.size()), outputs.data(),
                                              static_cast<int32_t>(outputs.size()));
    };
    for (uint32_t seed = 0; seed < 200; ++seed) {
        const Sizes high = node.draw(seed), drawn = node.draw(seed + 1000);
        for (const auto& [symbol, size] : drawn) {
            if (size >= high.at(symbol)) continue;
            Sizes low = high;
            low[symbol] = size;
            if (!checks.expect(workspace(low) <= workspace(high), symbol + "=" + std::to_string(size) +
                                                                      " needs more workspace than " +
                                                                      std::to_string(high.at(symbol))))
                return;
        }
    }
}

}  // namespace

void check_lifecycle(Checks& checks, const Library& library, const Case& node) {
    checks.enter("lifecycle " + node.name);
    Plugin plugin = create(checks, library, node);
    if (!plugin) return;
    check_workspace(checks, plugin, node);
    check_threads(checks, plugin, node);
    check_copies(checks, *library.creator(node.plugin, node.version, node.plugin_namespace), node, plugin);
}

}  // namespace host
