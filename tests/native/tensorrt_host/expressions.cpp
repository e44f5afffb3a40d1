#include "expressions.h"

#include <cctype>
#include <stdexcept>

namespace host {

namespace {

using nvinfer1::DimensionOperation;

int64_t floor_division(int64_t a, int64_t b) {
    if (b == 0) throw std::runtime_error("division by zero");
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

// Wraps where it overflows: a plugin may take the value of an unknown size for a number.
int64_t result(DimensionOperation operation, int64_t a, int64_t b) {
    const auto unsigned_a = static_cast<uint64_t>(a), unsigned_b = static_cast<uint64_t>(b);
    switch (operation) {
        case DimensionOperation::kSUM:
            return static_cast<int64_t>(unsigned_a + unsigned_b);
        case DimensionOperation::kPROD:
            return static_cast<int64_t>(unsigned_a * unsigned_b);
        case DimensionOperation::kMAX:
            return a > b ? a : b;
        case DimensionOperation::kMIN:
            return a < b ? a : b;
        case DimensionOperation::kSUB:
            return static_cast<int64_t>(unsigned_a - unsigned_b);
        case DimensionOperation::kEQUAL:
            return a == b;
        case DimensionOperation::kLESS:
            return a < b;
        case DimensionOperation::kFLOOR_DIV:
            return floor_division(a, b);
        case DimensionOperation::kCEIL_DIV:
            return -floor_division(-a, b);
    }
    throw std::runtime_error("unknown operation");
}

// formula = term { (+|-) term }; term = factor { (*|/|%) factor }; factor = number | symbol | ( formula )
class Parser {
public:
    Parser(const std::string& text, const Sizes& sizes) : text_(text), sizes_(sizes) {}

    int64_t all() {
        const int64_t value = formula();
        if (at_ != text_.size()) fail();
        return value;
    }

private:
    int64_t formula() {
        int64_t value = term();
        while (peek() == '+' || peek() == '-') value = text_[at_++] == '+' ? value + term() : value - term();
        return value;
    }
    int64_t term() {
        int64_t value = factor();
        while (peek() == '*' || peek() == '/' || peek() == '%') {
            const char sign = text_[at_++];
            const int64_t right = factor();
            if (sign == '*') value *= right;
            if (sign == '/') value = floor_division(value, right);
            if (sign == '%') value -= right * floor_division(value, right);
        }
        return value;
    }
    int64_t factor() {
        if (peek() == '(') {
            ++at_;
            const int64_t value = formula();
            if (peek() != ')') fail();
            ++at_;
            return value;
        }
        const size_t first = at_;
        while (std::isalnum(static_cast<unsigned char>(peek()))) ++at_;
        const std::string word = text_.substr(first, at_ - first);
        if (word.empty()) fail();
        if (std::isdigit(static_cast<unsigned char>(word[0]))) return std::stoll(word);
        const auto found = sizes_.find(word);
        if (found == sizes_.end()) throw std::runtime_error("no value for " + word + " in " + text_);
        return found->second;
    }
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    [[noreturn]] void fail() const { throw std::runtime_error("not a formula: " + text_); }

    const std::string& text_;
    const Sizes& sizes_;
    size_t at_ = 0;
};

}  // namespace

int64_t formula_value(const std::string& formula, const Sizes& sizes) { return Parser(formula, sizes).all(); }

int64_t Expression::value(const Sizes& sizes) const {
    if (constant_) return *constant_;
    if (!symbol_.empty()) return formula_value(symbol_, sizes);
    return result(operation_, first_->value(sizes), second_->value(sizes));
}

const nvinfer1::IDimensionExpr* ExpressionBuilder::operation(DimensionOperation operation,
                                                             const nvinfer1::IDimensionExpr& first,
                                                             const nvinfer1::IDimensionExpr& second) {
    const auto &a = static_cast<const Expression&>(first), &b = static_cast<const Expression&>(second);
    if (a.isConstant() && b.isConstant())
        return constant(result(operation, a.getConstantValue(), b.getConstantValue()));
    return keep(operation, a, b);
}

}  // namespace host
