// Output shapes, with sizes that are not known yet and with known ones, against the case's formulas.
#include "case.h"

namespace host {

namespace {

constexpr uint32_t kDraws = 50;

using nvinfer1::DimsExprs;

std::vector<DimsExprs> expressions_of(ExpressionBuilder& builder, const Case& node, const Sizes* known) {
    std::vector<DimsExprs> all;
    for (const Tensor& tensor : node.inputs) {
        DimsExprs dims{};
        for (const std::string& size : tensor.sizes) {
            const bool number = size.find_first_not_of("0123456789") == std::string::npos;
            dims.d[dims.nbDims++] = known || number ? builder.constant(formula_value(size, known ? *known : Sizes{}))
                                                    : builder.symbol(size);
        }
        all.push_back(dims);
    }
    return all;
}

std::vector<DimsExprs> output_shapes(Checks& checks, const Plugin& plugin, const Case& node, ExpressionBuilder& builder,
                                     const Sizes* known) {
    const std::vector<DimsExprs> inputs = expressions_of(builder, node, known);
    std::vector<DimsExprs> outputs(node.outputs.size());
    const int32_t code = plugin.build->getOutputShapes(inputs.data(), static_cast<int32_t>(inputs.size()), nullptr, 0,
                                                       outputs.data(), static_cast<int32_t>(outputs.size()), builder);
    checks.expect(code == 0, "getOutputShapes gives " + std::to_string(code));
    return outputs;
}

void compare(Checks& checks, const Case& node, const std::vector<DimsExprs>& outputs, const Sizes& sizes, bool known) {
    for (size_t i = 0; i < outputs.size(); ++i) {
        const Tensor& tensor = node.outputs[i];
        if (!checks.expect(outputs[i].nbDims == static_cast<int32_t>(tensor.sizes.size()),
                           tensor.name + " has " + std::to_string(outputs[i].nbDims) + " dimensions"))
            continue;
        for (int32_t k = 0; k < outputs[i].nbDims; ++k) {
            const auto* size = static_cast<const Expression*>(outputs[i].d[k]);
            if (!checks.expect(size, tensor.name + " lacks a size")) continue;
            const int64_t expected = formula_value(tensor.sizes[static_cast<size_t>(k)], sizes);
            checks.expect(!known || size->isConstant(), tensor.name + " has an unknown size though all are known");
            checks.expect(size->value(sizes) == expected,
                          tensor.name + " has size " + std::to_string(size->value(sizes)) + ", expected " +
                              tensor.sizes[static_cast<size_t>(k)] + " = " + std::to_string(expected));
        }
    }
}

// A rank or a count that the operator does not have.
void check_wrong_ranks(Checks& checks, const Plugin& plugin, const Case& node) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
        ExpressionBuilder builder;
        std::vector<DimsExprs> inputs = expressions_of(builder, node, nullptr), outputs(node.outputs.size());
        inputs[i].nbDims -= 1;
        checks.expect(plugin.build->getOutputShapes(inputs.data(), static_cast<int32_t>(inputs.size()), nullptr, 0,
                                                    outputs.data(), static_cast<int32_t>(outputs.size()), builder) != 0,
                      node.inputs[i].name + " with a dimension too few is taken");
    }
    ExpressionBuilder builder;
    std::vector<DimsExprs> inputs = expressions_of(builder, node, nullptr), outputs(node.outputs.size());
    checks.expect(plugin.build->getOutputShapes(inputs.data(), static_cast<int32_t>(inputs.size()) - 1, nullptr, 0,
                                                outputs.data(), static_cast<int32_t>(outputs.size()), builder) != 0,
                  "an input too few is taken");
}

}  // namespace

void check_shapes(Checks& checks, const Library& library, const Case& node) {
    checks.enter("shapes " + node.name);
    const Plugin plugin = create(checks, library, node);
    if (!plugin) return;
    const auto count = static_cast<int32_t>(node.outputs.size());
    if (!checks.expect(plugin.build->getNbOutputs() == count, "not the case's number of outputs")) return;
    ExpressionBuilder builder;
    const std::vector<DimsExprs> symbolic = output_shapes(checks, plugin, node, builder, nullptr);
    for (uint32_t seed = 0; seed < kDraws; ++seed) {
        const Sizes sizes = node.draw(seed);
        compare(checks, node, symbolic, sizes, false);
        ExpressionBuilder numbers;
        compare(checks, node, output_shapes(checks, plugin, node, numbers, &sizes), sizes, true);
    }
    if (node.exact) check_wrong_ranks(checks, plugin, node);
}

}  // namespace host
