// The kernels behind the plugin: right numbers, the same ones again, in a captured CUDA graph too, and
// no memory lost over many calls.
#include <cmath>
#include <fstream>
#include <iterator>

#include "case.h"
#include "memory.h"

namespace host {

namespace {

using nvinfer1::DataType;
using Outputs = std::vector<std::vector<char>>;

constexpr int kCalls = 10000;

std::vector<char> file_bytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

double half_value(uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const double value = exponent == 31 ? (mantissa ? NAN : INFINITY)
                         : exponent     ? std::ldexp(1024 + mantissa, exponent - 25)
                                        : std::ldexp(mantissa, -24);
    return bits >> 15 ? -value : value;
}

double element(const std::vector<char>& bytes, size_t i, DataType type) {
    const char* at = bytes.data() + i * element_size(type);
    const auto as = [at](auto number) {
        std::memcpy(&number, at, sizeof number);
        return number;
    };
    switch (type) {
        case DataType::kFLOAT:
            return as(float{});
        case DataType::kHALF:
            return half_value(as(uint16_t{}));
        case DataType::kINT32:
            return as(int32_t{});
        case DataType::kINT64:
            return static_cast<double>(as(int64_t{}));
        default:
            return as(int8_t{});
    }
}

// A node with its tensors in memory, ready to run.
class Bound {
public:
    Bound(const Case& node, const Run& run, const Plugin& plugin, bool on_host)
        : node_(node), inputs_(described(node.inputs, run.sizes)), outputs_(described(node.outputs, run.sizes)) {
        const auto ranged_in = ranged(node.inputs, run.sizes), ranged_out = ranged(node.outputs, run.sizes);
        workspace_ = std::make_unique<Buffer>(
            plugin.build->getWorkspaceSize(ranged_in.data(), static_cast<int32_t>(ranged_in.size()), ranged_out.data(),
                                           static_cast<int32_t>(ranged_out.size())),
            on_host);
        for (size_t i = 0; i < inputs_.size(); ++i) {
            add(inputs_[i], on_host);
            buffers_.back()->write(file_bytes(run.folder + "/" + node.inputs[i].name + ".bin"));
            input_.push_back(buffers_.back()->data());
        }
        for (const nvinfer1::PluginTensorDesc& output : outputs_) {
            add(output, on_host);
            output_.push_back(buffers_.back()->data());
        }
    }

    int32_t shapes(nvinfer1::IPluginV3OneRuntime& runtime) const {
        return runtime.onShapeChange(inputs_.data(), static_cast<int32_t>(inputs_.size()), outputs_.data(),
                                     static_cast<int32_t>(outputs_.size()));
    }
    int32_t enqueue(nvinfer1::IPluginV3OneRuntime& runtime, cudaStream_t stream) {
        return runtime.enqueue(inputs_.data(), outputs_.data(), input_.data(), output_.data(), workspace_->data(),
                               stream);
    }
    // Whatever was there before may not matter.
    void soil(int byte) {
        workspace_->fill(byte);
        for (size_t i = inputs_.size(); i < buffers_.size(); ++i) buffers_[i]->fill(byte);
    }
    Outputs read() const {
        Outputs outputs;
        for (size_t i = inputs_.size(); i < buffers_.size(); ++i) outputs.push_back(buffers_[i]->read());
        return outputs;
    }
    void compare(Checks& checks, const Run& run) const {
        const Outputs outputs = read();
        for (size_t k = 0; k < outputs.size(); ++k) {
            const Tensor& tensor = node_.outputs[k];
            const std::vector<char> expected = file_bytes(run.folder + "/" + tensor.name + ".bin");
            if (!checks.expect(expected.size() == outputs[k].size(), tensor.name + ".bin has the wrong size")) continue;
            double worst = 0;
            for (size_t i = 0; i < expected.size() / element_size(tensor.type); ++i) {
                const double right = element(expected, i, tensor.type);
                const double off =
                    std::abs(element(outputs[k], i, tensor.type) - right) / std::max(1.0, std::abs(right));
                worst = off <= worst ? worst : off;  // and not-a-number stays
            }
            checks.expect(worst <= run.tolerance, tensor.name + " is off by " + std::to_string(worst) + " of the " +
                                                      "expected, in " + run.folder);
        }
    }

private:
    void add(const nvinfer1::PluginTensorDesc& tensor, bool on_host) {
        const auto bytes = static_cast<size_t>(volume(tensor.dims)) * element_size(tensor.type);
        buffers_.push_back(std::make_unique<Buffer>(bytes, on_host));
    }

    const Case& node_;
    std::vector<nvinfer1::PluginTensorDesc> inputs_, outputs_;
    std::vector<std::unique_ptr<Buffer>> buffers_;
    std::unique_ptr<Buffer> workspace_;
    std::vector<const void*> input_;
    std::vector<void*> output_;
};

// Captured in the strictest mode: any allocation or synchronization of this thread breaks it.
void check_graph(Checks& checks, Bound& bound, nvinfer1::IPluginV3OneRuntime& runtime, const Outputs& expected) {
    cudaStream_t stream;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable;
    require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    const int32_t code = bound.enqueue(runtime, stream);
    const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
    if (checks.expect(code == 0 && ended == cudaSuccess && graph, "enqueue cannot be captured in a CUDA graph")) {
        require(cudaGraphInstantiate(&executable, graph, 0));
        bound.soil(0x5a);
        require(cudaDeviceSynchronize());
        require(cudaGraphLaunch(executable, stream));
        require(cudaStreamSynchronize(stream));
        checks.expect(bound.read() == expected, "the captured graph gives other numbers");
        require(cudaGraphExecDestroy(executable));
        require(cudaGraphDestroy(graph));
    }
    require(cudaStreamDestroy(stream));
}

void check_memory(Checks& checks, Bound& bound, nvinfer1::IPluginV3OneRuntime& runtime) {
    size_t before = 0, after = 0, total = 0;
    require(cudaDeviceSynchronize());
    require(cudaMemGetInfo(&before, &total));
    int failed = 0;
    for (int i = 0; i < kCalls; ++i) failed += bound.enqueue(runtime, nullptr) != 0;
    require(cudaDeviceSynchronize());
    require(cudaMemGetInfo(&after, &total));
    checks.expect(failed == 0, std::to_string(failed) + " of many calls failed");
    checks.expect(after >= before, std::to_string(before - after) + " bytes of the GPU are gone after many calls");
}

void check_run(Checks& checks, const Plugin& plugin, const Case& node, const Run& run, bool on_host) {
    Context context;
    Bound bound(node, run, plugin, on_host);
    const Plugin attached(plugin.runtime->attachToContext(&context));
    if (!checks.expect(bool(attached), "attachToContext gives no plugin")) return;
    checks.expect(bound.shapes(*attached.runtime) == 0, "onShapeChange refuses shapes that fit");
    const auto go = [&](int byte) {
        bound.soil(byte);
        const int32_t code = bound.enqueue(*attached.runtime, nullptr);
        if (!on_host) require(cudaDeviceSynchronize());
        checks.expect(code == 0, "enqueue gives " + std::to_string(code) + ": " + context.recorder().text());
    };
    go(0xff);
    bound.compare(checks, run);
    const Outputs outputs = bound.read();
    go(0);
    checks.expect(bound.read() == outputs, "a second run gives other numbers");
    if (on_host) return;
    check_graph(checks, bound, *attached.runtime, outputs);
    check_memory(checks, bound, *attached.runtime);
}

}  // namespace

std::string no_gpu_reason() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    return count ? "" : "no device";
}

bool check_enqueue(Checks& checks, const Library& library, const Case& node, bool host_memory) {
    checks.enter("enqueue " + node.name);
    if (!host_memory && !no_gpu_reason().empty()) return false;
    const Plugin plugin = create(checks, library, node);
    for (const Run& run : node.runs)
        if (plugin) check_run(checks, plugin, node, run, host_memory);
    return true;
}

}  // namespace host
