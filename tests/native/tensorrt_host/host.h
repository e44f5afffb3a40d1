// What the parts of the host share: counting checks, and the library under test.
#pragma once

#include <NvInferRuntime.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace host {

// Counts checks and prints each that fails.
class Checks {
public:
    void enter(const std::string& where) { where_ = where; }
    bool expect(bool right, const std::string& what) {
        ++done_;
        if (right) return true;
        ++failed_;
        std::printf("FAIL %s: %s\n", where_.c_str(), what.c_str());
        return false;
    }
    int done() const { return done_; }
    int failed() const { return failed_; }

private:
    std::string where_;
    int done_ = 0, failed_ = 0;
};

// Keeps what TensorRT or a plugin reports.
class Recorder final : public nvinfer1::IErrorRecorder {
public:
    int32_t getNbErrors() const noexcept override { return static_cast<int32_t>(errors_.size()); }
    nvinfer1::ErrorCode getErrorCode(int32_t i) const noexcept override {
        return errors_[static_cast<size_t>(i)].first;
    }
    ErrorDesc getErrorDesc(int32_t i) const noexcept override { return errors_[static_cast<size_t>(i)].second.c_str(); }
    bool hasOverflowed() const noexcept override { return false; }
    void clear() noexcept override { errors_.clear(); }
    bool reportError(nvinfer1::ErrorCode code, ErrorDesc reason) noexcept override {
        errors_.emplace_back(code, reason);
        return true;
    }
    RefCount incRefCount() noexcept override { return ++references_; }
    RefCount decRefCount() noexcept override { return --references_; }

    std::string text() const {
        std::string all;
        for (const auto& error : errors_) all += (all.empty() ? "" : "; ") + error.second;
        return all;
    }

private:
    std::vector<std::pair<nvinfer1::ErrorCode, std::string>> errors_;
    RefCount references_ = 0;
};

// An execution context, as far as a plugin sees it.
class Context final : public nvinfer1::IPluginResourceContext {
public:
    nvinfer1::IGpuAllocator* getGpuAllocator() const noexcept override { return nullptr; }
    nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return recorder_.get(); }
    Recorder& recorder() { return *recorder_; }

private:
    std::unique_ptr<Recorder> recorder_ = std::make_unique<Recorder>();
};

// A plugin and its capabilities; null where it lacks one.
struct Plugin {
    explicit Plugin(nvinfer1::IPluginV3* made) : owner(made) {
        using nvinfer1::PluginCapabilityType;
        if (!made) return;
        core = static_cast<nvinfer1::IPluginV3OneCore*>(made->getCapabilityInterface(PluginCapabilityType::kCORE));
        build = static_cast<nvinfer1::IPluginV3OneBuild*>(made->getCapabilityInterface(PluginCapabilityType::kBUILD));
        runtime =
            static_cast<nvinfer1::IPluginV3OneRuntime*>(made->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    }
    explicit operator bool() const { return core && build && runtime; }

    std::unique_ptr<nvinfer1::IPluginV3> owner;
    nvinfer1::IPluginV3OneCore* core = nullptr;
    nvinfer1::IPluginV3OneBuild* build = nullptr;
    nvinfer1::IPluginV3OneRuntime* runtime = nullptr;
};

// The creators of a plugin library, loaded by dlopen or by TensorRT's registry.
class Library {
public:
    // `runtime` is a TensorRT library (libnvinfer.so or libnvinfer_lean.so), or empty for dlopen.
    // Throws std::runtime_error where the library cannot be loaded.
    Library(const std::string& path, const std::string& runtime);

    const std::vector<nvinfer1::IPluginCreatorV3One*>& creators() const { return creators_; }
    // Null where there is none.
    nvinfer1::IPluginCreatorV3One* creator(const std::string& name, const std::string& version,
                                           const std::string& plugin_namespace) const;
    // What only a registry does: refuses a second load, forgets the plugins on deregistration.
    void check_registry(Checks& checks, const std::string& path);
    // For the host's own messages: "dlopen", or "TensorRT 10.16.1 registry".
    const std::string& way_in() const { return way_in_; }

private:
    void open_directly(const std::string& path);
    void open_by_registry(const std::string& path, const std::string& runtime);

    std::vector<nvinfer1::IPluginCreatorV3One*> creators_;
    nvinfer1::IPluginRegistry* registry_ = nullptr;
    nvinfer1::IPluginRegistry::PluginLibraryHandle handle_ = nullptr;
    std::unique_ptr<Recorder> recorder_ = std::make_unique<Recorder>();
    std::string way_in_;
};

}  // namespace host
