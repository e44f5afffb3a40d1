// Names, versions, namespaces and field lists: what TensorRT's parser finds a plugin by.
#include <algorithm>
#include <set>

#include "case.h"

namespace host {

namespace {

bool is_word(const char* text) {
    if (!text || !*text) return false;
    const std::string word = text;
    return word.size() < 1024 &&
           std::all_of(word.begin(), word.end(), [](unsigned char c) { return c > 32 && c < 127; });
}

std::set<std::string> field_names(nvinfer1::IPluginCreatorV3One& creator) {
    std::set<std::string> names;
    const nvinfer1::PluginFieldCollection* fields = creator.getFieldNames();
    for (int32_t i = 0; fields && i < fields->nbFields; ++i)
        names.insert(fields->fields[i].name ? fields->fields[i].name : "");
    return names;
}

}  // namespace

void check_metadata(Checks& checks, const Library& library, const std::vector<Case>& cases) {
    std::set<std::string> seen;
    for (nvinfer1::IPluginCreatorV3One* creator : library.creators()) {
        checks.enter("metadata");
        const char *name = creator->getPluginName(), *version = creator->getPluginVersion();
        const char* plugin_namespace = creator->getPluginNamespace();
        if (!checks.expect(is_word(name) && is_word(version) && plugin_namespace, "a plugin lacks a name or version"))
            continue;
        checks.enter(std::string("metadata ") + name);
        checks.expect(seen.insert(std::string(name) + " " + version + " " + plugin_namespace).second, "is there twice");
        const nvinfer1::PluginFieldCollection* fields = creator->getFieldNames();
        if (!checks.expect(fields && fields->nbFields >= 0, "lists no fields")) continue;
        for (int32_t i = 0; i < fields->nbFields; ++i)
            checks.expect(is_word(fields->fields[i].name), "field " + std::to_string(i) + " has no name");
        checks.expect(field_names(*creator).size() == static_cast<size_t>(fields->nbFields), "a field is there twice");
        checks.expect(field_names(*creator) == field_names(*creator), "the field list changes");
        const bool found = library.creator(name, version, plugin_namespace) == creator;
        checks.expect(found, "is not found by its own name, version and namespace");
        std::printf("plugin %s %s %s\n", name, version, *plugin_namespace ? plugin_namespace : "-");
    }
    std::set<std::string> tested;
    for (const Case& node : cases) {
        checks.enter("metadata " + node.name);
        tested.insert(node.plugin + " " + node.version + " " + node.plugin_namespace);
        nvinfer1::IPluginCreatorV3One* creator = library.creator(node.plugin, node.version, node.plugin_namespace);
        if (!checks.expect(creator, "no creator of " + node.plugin) || !node.exact) continue;
        std::set<std::string> names;
        for (const Field& field : node.fields) names.insert(field.name);
        checks.expect(field_names(*creator) == names, "the creator's fields are not the node's");
    }
    checks.enter("metadata");
    for (const std::string& plugin : seen) checks.expect(tested.count(plugin), "no case is there for " + plugin);
}

}  // namespace host
