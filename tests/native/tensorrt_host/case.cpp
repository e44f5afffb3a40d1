#include "case.h"

#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>

namespace host {

namespace {

using nvinfer1::DataType;
using nvinfer1::PluginFieldType;

template <typename Number>
void append(std::vector<char>& data, Number number) {
    const size_t end = data.size();
    data.resize(end + sizeof number);
    std::memcpy(data.data() + end, &number, sizeof number);
}

Field read_field(std::istringstream& words) {
    std::string type, word;
    Field field{};
    words >> type >> field.name;
    while (words >> word) {
        ++field.length;
        if (type == "int32")
            append(field.data, static_cast<int32_t>(std::stol(word)));
        else if (type == "int64")
            append(field.data, static_cast<int64_t>(std::stoll(word)));
        else if (type == "float32")
            append(field.data, std::stof(word));
        else if (type == "char")
            field.data.assign(word.c_str(), word.c_str() + word.size() + 1);
        else if (type == "chars")
            field.data.assign(word.begin(), word.end());
    }
    if (type == "int32")
        field.type = PluginFieldType::kINT32;
    else if (type == "int64")
        field.type = PluginFieldType::kINT64;
    else if (type == "float32")
        field.type = PluginFieldType::kFLOAT32;
    else if (type == "char" || type == "chars")
        field.type = PluginFieldType::kCHAR;
    else
        throw std::runtime_error("unknown type of field " + type);
    if (field.type == PluginFieldType::kCHAR) field.length = static_cast<int32_t>(field.data.size());
    return field;
}

DataType type_named(const std::string& name) {
    for (const auto& [known, type] : std::map<std::string, DataType>{{"float32", DataType::kFLOAT},
                                                                     {"float16", DataType::kHALF},
                                                                     {"int8", DataType::kINT8},
                                                                     {"int32", DataType::kINT32},
                                                                     {"int64", DataType::kINT64},
                                                                     {"bool", DataType::kBOOL}})
        if (name == known) return type;
    throw std::runtime_error("unknown type of tensor " + name);
}

Tensor read_tensor(std::istringstream& words) {
    Tensor tensor{};
    std::string type, size;
    words >> tensor.name >> type;
    tensor.type = type_named(type);
    while (words >> size) tensor.sizes.push_back(size);
    return tensor;
}

std::vector<nvinfer1::Dims> read_misfit(std::istringstream& words) {
    std::vector<nvinfer1::Dims> shapes;
    for (std::string word; words >> word;) {
        nvinfer1::Dims dims{};
        std::istringstream sizes(word);
        for (std::string size; std::getline(sizes, size, 'x');) dims.d[dims.nbDims++] = std::stoll(size);
        shapes.push_back(dims);
    }
    return shapes;
}

Run read_run(std::istringstream& words) {
    Run run{};
    words >> run.folder >> run.tolerance;
    for (std::string word; words >> word;) {
        const size_t equals = word.find('=');
        run.sizes[word.substr(0, equals)] = std::stoll(word.substr(equals + 1));
    }
    return run;
}

void read_line(std::vector<Case>& cases, const std::string& key, std::istringstream& words) {
    if (key == "case") {
        cases.emplace_back();
        words >> cases.back().name;
        return;
    }
    if (cases.empty()) throw std::runtime_error("no case has been started");
    Case& node = cases.back();
    std::string symbol;
    if (key == "plugin") {
        words >> node.plugin >> node.version >> node.plugin_namespace;
        if (node.plugin_namespace == "-") node.plugin_namespace.clear();
    } else if (key == "field")
        node.fields.push_back(read_field(words));
    else if (key == "same")
        node.same.push_back(read_field(words));
    else if (key == "also")
        node.also.push_back(read_field(words));
    else if (key == "refused")
        node.refused.push_back(read_field(words));
    else if (key == "input")
        node.inputs.push_back(read_tensor(words));
    else if (key == "output")
        node.outputs.push_back(read_tensor(words));
    else if (key == "range")
        words >> symbol >> node.ranges[symbol].first >> node.ranges[symbol].last;
    else if (key == "divides")
        words >> symbol >> node.ranges[symbol].step;
    else if (key == "exact")
        node.exact = true;
    else if (key == "combinations")
        words >> node.combinations;
    else if (key == "misfit")
        node.misfits.push_back(read_misfit(words));
    else if (key == "run")
        node.runs.push_back(read_run(words));
    else
        throw std::runtime_error("unknown word " + key);
}

}  // namespace

std::vector<Case> read_cases(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot read " + path);
    std::vector<Case> cases;
    int number = 0;
    for (std::string line, key; std::getline(file, line);) {
        ++number;
        std::istringstream words(line.substr(0, line.find('#')));
        if (!(words >> key)) continue;
        try {
            read_line(cases, key, words);
        } catch (const std::exception& e) {
            throw std::runtime_error(path + ":" + std::to_string(number) + ": " + e.what());
        }
    }
    return cases;
}

nvinfer1::Dims Tensor::shape(const Sizes& values) const {
    nvinfer1::Dims dims{};
    for (const std::string& size : sizes) dims.d[dims.nbDims++] = formula_value(size, values);
    return dims;
}

Sizes Case::draw(uint32_t seed) const {
    std::mt19937 random(seed);
    Sizes sizes;
    for (const auto& [symbol, range] : ranges) {
        const int64_t low = (range.first + range.step - 1) / range.step, high = range.last / range.step;
        sizes[symbol] = (low + static_cast<int64_t>(random() % static_cast<uint32_t>(high - low + 1))) * range.step;
    }
    return sizes;
}

FieldCollection::FieldCollection(const std::vector<Field>& fields) {
    for (const Field& field : fields)
        fields_.emplace_back(field.name.c_str(), field.data.data(), field.type, field.length);
    collection_.nbFields = static_cast<int32_t>(fields_.size());
    collection_.fields = fields_.data();
}

size_t element_size(DataType type) {
    if (type == DataType::kINT64) return 8;
    if (type == DataType::kFLOAT || type == DataType::kINT32) return 4;
    return type == DataType::kHALF ? 2 : 1;
}

int64_t volume(const nvinfer1::Dims& dims) {
    int64_t count = 1;
    for (int32_t i = 0; i < dims.nbDims; ++i) count *= dims.d[i];
    return count;
}

std::vector<nvinfer1::PluginTensorDesc> described(const std::vector<Tensor>& tensors, const Sizes& sizes) {
    std::vector<nvinfer1::PluginTensorDesc> all;
    for (const Tensor& tensor : tensors)
        all.push_back({tensor.shape(sizes), tensor.type, nvinfer1::TensorFormat::kLINEAR, 1.0f});
    return all;
}

std::vector<nvinfer1::DynamicPluginTensorDesc> ranged(const std::vector<Tensor>& tensors, const Sizes& largest) {
    std::vector<nvinfer1::DynamicPluginTensorDesc> all;
    for (const nvinfer1::PluginTensorDesc& tensor : described(tensors, largest))
        all.push_back({tensor, tensor.dims, tensor.dims, tensor.dims});
    return all;
}

Plugin create(Checks& checks, const Library& library, const Case& node) {
    nvinfer1::IPluginCreatorV3One* creator = library.creator(node.plugin, node.version, node.plugin_namespace);
    if (!checks.expect(creator, "no creator of " + node.plugin)) return Plugin(nullptr);
    const FieldCollection fields(node.fields);
    Plugin plugin(creator->createPlugin("node", fields.get(), nvinfer1::TensorRTPhase::kBUILD));
    checks.expect(bool(plugin), "no plugin, or one that lacks a capability");
    return plugin;
}

std::string serialized(nvinfer1::IPluginV3OneRuntime& runtime) {
    const nvinfer1::PluginFieldCollection* fields = runtime.getFieldsToSerialize();
    if (!fields) return "null";
    static const std::map<PluginFieldType, int> widths{{PluginFieldType::kINT32, 4},   {PluginFieldType::kINT64, 8},
                                                       {PluginFieldType::kFLOAT32, 4}, {PluginFieldType::kFLOAT16, 2},
                                                       {PluginFieldType::kFLOAT64, 8}, {PluginFieldType::kINT16, 2}};
    std::ostringstream text;
    for (int32_t i = 0; i < fields->nbFields; ++i) {
        const nvinfer1::PluginField& field = fields->fields[i];
        const auto width = widths.find(field.type);
        const int bytes = field.length * (width == widths.end() ? 1 : width->second);
        text << field.name << ':' << static_cast<int>(field.type) << ':' << field.length << '=' << std::hex;
        for (int k = 0; k < bytes; ++k) text << +static_cast<const unsigned char*>(field.data)[k] << '.';
        text << std::dec << ' ';
    }
    return text.str();
}

}  // namespace host
