// Dimensions with and without known sizes, as TensorRT's builder hands them to a plugin, and the
// formulas of a case to compare with.
#pragma once

#include <NvInferRuntime.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace host {

using Sizes = std::map<std::string, int64_t>;  // the values of symbols

// The value of a formula of integers, symbols, + - * ( ), and / and % that round down: "(H+2-3)/2+1".
// Throws std::runtime_error for anything else.
int64_t formula_value(const std::string& formula, const Sizes& sizes);

// An expression of which the host knows all: a constant, a symbol, or an operation on two others.
class Expression final : public nvinfer1::IDimensionExpr, public nvinfer1::apiv::VDimensionExpr {
public:
    explicit Expression(int64_t constant) : Expression() { constant_ = constant; }
    explicit Expression(const std::string& symbol) : Expression() { symbol_ = symbol; }
    Expression(nvinfer1::DimensionOperation operation, const Expression& first, const Expression& second)
        : Expression() {
        operation_ = operation;
        first_ = &first;
        second_ = &second;
    }

    int64_t value(const Sizes& sizes) const;

    bool isConstant() const override { return constant_.has_value(); }
    // As TensorRT's header has it for a size that is not known.
    int64_t getConstantValue() const override { return constant_.value_or(INT64_MIN); }
    bool isSizeTensor() const override { return false; }

private:
    Expression() { mImpl = this; }

    std::optional<int64_t> constant_;
    std::string symbol_;
    nvinfer1::DimensionOperation operation_ = nvinfer1::DimensionOperation::kSUM;
    const Expression *first_ = nullptr, *second_ = nullptr;
};

// Folds operations on constants, as TensorRT's does; owns what it makes.
class ExpressionBuilder final : public nvinfer1::IExprBuilder, public nvinfer1::apiv::VExprBuilder {
public:
    ExpressionBuilder() { mImpl = this; }

    const nvinfer1::IDimensionExpr* constant(int64_t value) override { return keep(value); }
    const nvinfer1::IDimensionExpr* operation(nvinfer1::DimensionOperation operation,
                                              const nvinfer1::IDimensionExpr& first,
                                              const nvinfer1::IDimensionExpr& second) override;
    const nvinfer1::IDimensionExpr* declareSizeTensor(int32_t, const nvinfer1::IDimensionExpr&,
                                                      const nvinfer1::IDimensionExpr&) override {
        return nullptr;  // no operator of ours has sizes that depend on data
    }
    const nvinfer1::IDimensionExpr* symbol(const std::string& name) { return keep(name); }

private:
    template <typename... Arguments>
    const Expression* keep(const Arguments&... arguments) {
        made_.push_back(std::make_unique<Expression>(arguments...));
        return made_.back().get();
    }

    std::vector<std::unique_ptr<Expression>> made_;
};

}  // namespace host
