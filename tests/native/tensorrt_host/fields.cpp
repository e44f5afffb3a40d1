// Fields that are wrong in every way that one can be: an error, that is no plugin, and never a crash.
#include <cstring>
#include <random>

#include "case.h"

namespace host {

namespace {

using nvinfer1::PluginFieldType;

// What became of the fields, and whether they cannot be right any more.
struct Mutant {
    std::vector<Field> fields;
    bool wrong = true;
    std::string how;
};

Mutant mutated(const std::vector<Field>& fields, std::mt19937& random) {
    Mutant mutant{fields, true, ""};
    const auto below = [&](size_t count) { return random() % static_cast<uint32_t>(count); };
    Field& field = mutant.fields[below(fields.size())];
    switch (below(8)) {
        case 0:
            mutant.how = field.name + " left out";
            mutant.fields.erase(mutant.fields.begin() + (&field - mutant.fields.data()));
            break;
        case 1:
            mutant.how = field.name + " misspelt";
            field.name[below(field.name.size())] ^= 1 + static_cast<char>(below(3));
            break;
        case 2: {
            mutant.how = field.name + " twice";
            const Field copy = field;  // push_back may move what `field` refers to
            mutant.fields.push_back(copy);
            break;
        }
        case 3: {  // any type, known or not; most have values of one byte, so that reading more is seen
            static constexpr int32_t kTypes[] = {0, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 99, -1, INT32_MAX};
            static constexpr size_t kWidths[] = {2, 8, 1, 2, 1, sizeof(nvinfer1::Dims), 1, 2, 1, 1, 1, 1, 1, 1};
            const size_t i = below(14);
            field.type = static_cast<PluginFieldType>(kTypes[i]);
            field.data = std::vector<char>(static_cast<size_t>(field.length) * kWidths[i]);
            mutant.how = field.name + " of type " + std::to_string(static_cast<int32_t>(field.type));
            break;
        }
        case 4: {
            static constexpr int32_t kLengths[] = {0, -1, INT32_MIN, INT32_MAX, 3, 5, 64};
            field.length = kLengths[below(7)];
            field.data.resize(64 * sizeof(int64_t));
            mutant.how = field.name + " of length " + std::to_string(field.length);
            for (const Field& right : fields) mutant.wrong &= right.name != field.name || right.length != field.length;
            break;
        }
        case 5:
            mutant.how = field.name + " without values";
            field.data.clear();
            field.data.shrink_to_fit();
            break;
        case 6: {  // extreme numbers: may be right for a field without limits
            static constexpr int32_t kBits[] = {INT32_MIN, INT32_MAX, -1, 0x7fc00000, 0x7f800000, 1 << 16};
            const int32_t bits = kBits[below(6)];
            for (size_t at = 0; at + 4 <= field.data.size(); at += 4) std::memcpy(field.data.data() + at, &bits, 4);
            mutant.how = field.name + " of bits " + std::to_string(bits);
            mutant.wrong = false;
            break;
        }
        default:  // random bits
            for (char& byte : field.data) byte = static_cast<char>(random());
            mutant.how = field.name + " of random bits";
            mutant.wrong = false;
    }
    return mutant;
}

void check_mutant(Checks& checks, nvinfer1::IPluginCreatorV3One& creator, const Mutant& mutant, bool exact) {
    const FieldCollection fields(mutant.fields);
    const auto phase = mutant.fields.size() % 2 ? nvinfer1::TensorRTPhase::kBUILD : nvinfer1::TensorRTPhase::kRUNTIME;
    const Plugin plugin(creator.createPlugin("node", fields.get(), phase));
    if (exact && mutant.wrong) checks.expect(!plugin.owner, "a plugin is made with " + mutant.how);
    if (!plugin.owner) return;
    // What is taken must be taken whole: it serializes, and makes the same plugin again.
    if (!checks.expect(bool(plugin), "a plugin without capabilities is made with " + mutant.how)) return;
    const Plugin again(
        creator.createPlugin("again", plugin.runtime->getFieldsToSerialize(), nvinfer1::TensorRTPhase::kRUNTIME));
    checks.expect(again && serialized(*again.runtime) == serialized(*plugin.runtime),
                  "what is made with " + mutant.how + " does not come back from its own fields");
}

std::vector<Field> with(const std::vector<Field>& fields, const Field& changed) {
    std::vector<Field> all = fields;
    for (Field& field : all)
        if (field.name == changed.name) field = changed;
    return all;
}

}  // namespace

void check_fields(Checks& checks, const Library& library, const Case& node, int mutations) {
    checks.enter("fields " + node.name);
    const Plugin plugin = create(checks, library, node);
    nvinfer1::IPluginCreatorV3One* creator = library.creator(node.plugin, node.version, node.plugin_namespace);
    if (!plugin) return;
    const auto made = [&](const std::vector<Field>& fields) {
        return Plugin(creator->createPlugin("node", FieldCollection(fields).get(), nvinfer1::TensorRTPhase::kBUILD));
    };
    const std::string right = serialized(*plugin.runtime);
    for (const Field& field : node.same) {
        const Plugin other = made(with(node.fields, field));
        checks.expect(other && serialized(*other.runtime) == right,
                      "another form of " + field.name + " is not the same");
    }
    for (const Field& field : node.also) {
        std::vector<Field> more = node.fields;
        more.push_back(field);
        const Plugin other = made(more);
        checks.expect(other && serialized(*other.runtime) == right, "the further field " + field.name + " matters");
    }
    for (const Field& field : node.refused) {
        std::vector<Field> fields = with(node.fields, field);
        bool known = false;
        for (const Field& own : node.fields) known |= own.name == field.name;
        if (!known) fields.push_back(field);
        checks.expect(!made(fields).owner, "a plugin is made with a wrong " + field.name);
    }
    if (node.exact) {
        const nvinfer1::PluginFieldCollection none{-1, nullptr}, missing{3, nullptr};
        for (const nvinfer1::PluginFieldCollection* fields :
             {(const nvinfer1::PluginFieldCollection*)nullptr, &none, &missing})
            checks.expect(!Plugin(creator->createPlugin("node", fields, nvinfer1::TensorRTPhase::kBUILD)).owner,
                          "a plugin is made without fields");
        std::vector<nvinfer1::PluginField> nameless(1);
        const nvinfer1::PluginFieldCollection unnamed{1, nameless.data()};
        checks.expect(!Plugin(creator->createPlugin(nullptr, &unnamed, nvinfer1::TensorRTPhase::kBUILD)).owner,
                      "a plugin is made with a field that has no name");
    }
    std::mt19937 random(1);
    if (!node.fields.empty())
        for (int i = 0; i < mutations; ++i) check_mutant(checks, *creator, mutated(node.fields, random), node.exact);
}

}  // namespace host
