#include <dlfcn.h>

#include <cstring>
#include <set>
#include <stdexcept>

#include "host.h"

namespace host {

namespace {

using nvinfer1::IPluginCreatorInterface;
using nvinfer1::IPluginCreatorV3One;

void* opened(const std::string& path, int flags) {
    void* library = dlopen(path.c_str(), RTLD_NOW | flags);
    if (!library) throw std::runtime_error(dlerror());
    return library;
}

template <typename Function>
Function* symbol(void* library, const char* name) {
    auto* found = reinterpret_cast<Function*>(dlsym(library, name));
    if (!found) throw std::runtime_error(std::string("no symbol ") + name);
    return found;
}

// A library that calls this works with one major version of TensorRT only.
class NoLogger final : public nvinfer1::ILoggerFinder {
public:
    nvinfer1::ILogger* findLogger() override {
        std::fprintf(stderr, "FAIL the library calls ILoggerFinder::findLogger, whose place changed in TensorRT 11\n");
        std::abort();
    }
};

IPluginCreatorV3One* as_v3(IPluginCreatorInterface* creator) {
    const bool right = creator && !std::strcmp(creator->getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE");
    return right ? static_cast<IPluginCreatorV3One*>(creator) : nullptr;
}

}  // namespace

Library::Library(const std::string& path, const std::string& runtime) {
    runtime.empty() ? open_directly(path) : open_by_registry(path, runtime);
}

void Library::open_directly(const std::string& path) {
    static NoLogger finder;
    void* library = opened(path, RTLD_LOCAL);
    symbol<void(nvinfer1::ILoggerFinder*)>(library, "setLoggerFinder")(&finder);
    int32_t count = -1;
    IPluginCreatorInterface* const* creators =
        symbol<IPluginCreatorInterface* const*(int32_t&)>(library, "getCreators")(count);
    if (!creators || count < 1) throw std::runtime_error("getCreators gives no creators");
    for (int32_t i = 0; i < count; ++i) {
        if (!as_v3(creators[i])) throw std::runtime_error("creator " + std::to_string(i) + " is not of version 3");
        creators_.push_back(as_v3(creators[i]));
    }
    way_in_ = "dlopen";
}

void Library::open_by_registry(const std::string& path, const std::string& runtime) {
    void* tensorrt = opened(runtime, RTLD_GLOBAL);
    const int32_t major = symbol<int32_t()>(tensorrt, "getInferLibMajorVersion")();
    if (major != NV_TENSORRT_MAJOR)
        throw std::runtime_error("this host was compiled with headers of TensorRT " +
                                 std::to_string(NV_TENSORRT_MAJOR) + ", the runtime is " + std::to_string(major));
    way_in_ = "registry of TensorRT " + std::to_string(major) + "." +
              std::to_string(symbol<int32_t()>(tensorrt, "getInferLibMinorVersion")()) + "." +
              std::to_string(symbol<int32_t()>(tensorrt, "getInferLibPatchVersion")());
    registry_ = symbol<nvinfer1::IPluginRegistry*()>(tensorrt, "getPluginRegistry")();
    registry_->setErrorRecorder(recorder_.get());
    const auto listed = [this] {
        int32_t count = 0;
        IPluginCreatorInterface* const* all = registry_->getAllCreators(&count);
        return std::set<IPluginCreatorInterface*>(all, all + count);
    };
    const auto before = listed();
    handle_ = registry_->loadLibrary(path.c_str());
    if (!handle_) throw std::runtime_error("the registry refuses the library: " + recorder_->text());
    for (IPluginCreatorInterface* creator : listed())
        if (!before.count(creator) && as_v3(creator)) creators_.push_back(as_v3(creator));
}

IPluginCreatorV3One* Library::creator(const std::string& name, const std::string& version,
                                      const std::string& plugin_namespace) const {
    if (registry_) return as_v3(registry_->getCreator(name.c_str(), version.c_str(), plugin_namespace.c_str()));
    for (IPluginCreatorV3One* creator : creators_)
        if (name == creator->getPluginName() && version == creator->getPluginVersion() &&
            plugin_namespace == creator->getPluginNamespace())
            return creator;
    return nullptr;
}

void Library::check_registry(Checks& checks, const std::string& path) {
    if (!registry_) return;
    checks.enter("registry");
    checks.expect(recorder_->getNbErrors() == 0, "reported while the library was in use: " + recorder_->text());
    const std::string name = creators_[0]->getPluginName(), version = creators_[0]->getPluginVersion();
    const std::string plugin_namespace = creators_[0]->getPluginNamespace();
    checks.expect(!registry_->loadLibrary(path.c_str()), "the library is loaded a second time");
    checks.expect(recorder_->getNbErrors() > 0, "a second load fails without a reason");
    registry_->deregisterLibrary(handle_);
    checks.expect(!creator(name, version, plugin_namespace), name + " is still found after deregistration");
    registry_->setErrorRecorder(nullptr);
}

}  // namespace host
