"""Convolutions, matrix products and attention."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from adroit.deploy.measure.formulas.node import Formula, SizedNode, UncountedOperator
from adroit.models.operators.counts import OperationCounts, convolution_counts


def _convolution(node: SizedNode) -> OperationCounts:
    """Of any rank, grouped or not: W [M,C/groups,...]."""
    return convolution_counts(node.input(1), node.output(), bias=node.has(2))


def _transposed_convolution(node: SizedNode) -> OperationCounts:
    """Each element of X [N,C,...] is spread by its part of W [C,M/groups,...]."""
    return OperationCounts(prod(node.input()) * prod(node.input(1)[1:]), elementwise=node.elements * int(node.has(2)))


def _deformable_convolution(node: SizedNode) -> OperationCounts:
    """A convolution of values that are interpolated from four; input 3 is the bias, 4 the mask of each."""
    counts = convolution_counts(node.input(1), node.output(), bias=node.has(3))
    kernel, output = node.input(1)[2:], node.output()
    sampled = prod(node.input()[:2]) * prod(kernel) * prod(output[2:])
    return counts + OperationCounts(multiply_adds=2 ** len(kernel) * sampled, elementwise=sampled * int(node.has(4)))


def _integer_convolution(node: SizedNode) -> OperationCounts:
    return OperationCounts(node.elements * prod(node.input(1)[1:]))


def _quantized_convolution(node: SizedNode) -> OperationCounts:
    """X, W and Y each with scale and zero point, then the bias; each sum is scaled and rounded."""
    weight, elements = node.input(3), node.elements
    return OperationCounts(elements * prod(weight[1:]), elementwise=elements * (1 + int(node.has(8))))


def _gemm(node: SizedNode) -> OperationCounts:
    weight = node.input(1) if node.attribute("transB", 0) else node.input(1)[::-1]
    return convolution_counts(weight, node.output(), bias=node.has(2))


def _matrix_product(node: SizedNode) -> OperationCounts:
    """Batched or not; either side may be a vector."""
    return OperationCounts(node.elements * node.input()[-1])


def _quantized_matrix_product(node: SizedNode) -> OperationCounts:
    return _matrix_product(node) + OperationCounts(elementwise=node.elements)


def _einsum(node: SizedNode) -> OperationCounts:
    """A multiply-add for each combination of all indices; where none is summed over, a product.

    Of more than two tensors it is the count of the one sum as it is written, which a runtime may do in steps.
    """
    terms, arrow, result = node.attribute("equation", "").replace(" ", "").partition("->")
    sizes = _index_sizes(node, terms.split(","))
    if not arrow:  # then the result has the indices that stand once
        result = "..." + "".join(letter for letter in sizes if terms.count(letter) == 1)
    summed = any(not (name in result or (name[0] == "." and "..." in result)) for name in sizes)
    combinations, products = prod(sizes.values()), len(node.proto.input) - 1
    if products and summed:
        return OperationCounts(combinations * products)
    return OperationCounts(elementwise=combinations * (products or int(summed)))


def _index_sizes(node: SizedNode, terms: list[str]) -> dict[str, int]:
    """The size of each index; those of an ellipsis are named by their places from the right."""
    sizes: dict[str, int] = {}
    for place, term in enumerate(terms):
        shape = node.input(place)
        letters = len(term.replace("...", ""))
        before, dots, _ = term.partition("...")
        free = len(shape) - letters
        if free < 0 or (free and not dots):
            raise UncountedOperator("its equation does not fit its inputs' shapes")
        names = [*before, *(f"...{free - i}" for i in range(free)), *term[len(before) + len(dots) :]]
        for name, size in zip(names, shape, strict=True):
            sizes[name] = max(size, sizes.get(name, 1)) if size else 0
    return sizes


def _attention(node: SizedNode) -> OperationCounts:
    """softmax(Q K) V of [N,heads,L,D], or of [N,L,heads*D] with the number of heads as an attribute."""
    query, key, value = (node.input(i) for i in range(3))
    if len(query) == 3:
        heads, kv_heads = int(node.attribute("q_num_heads", 1)), int(node.attribute("kv_num_heads", 1))
        batch, length, keys = query[0], query[1], key[1]
        wide = query[2] // heads + value[2] // kv_heads
    else:
        batch, heads, length, keys = query[0], query[1], query[2], key[2]
        wide = query[3] + value[3]
    keys += node.input(4)[2] if node.has(4) else 0  # those of earlier calls
    scores = batch * heads * length * keys
    each = 5 + int(node.has(3))  # the scale, softmax and the mask
    return OperationCounts(scores * wide, elementwise=scores * each, transcendental=scores)


FORMULAS: Mapping[str, Formula] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "DeformConv": _deformable_convolution,
    "ConvInteger": _integer_convolution,
    "QLinearConv": _quantized_convolution,
    "Gemm": _gemm,
    **dict.fromkeys(("MatMul", "MatMulInteger"), _matrix_product),
    "QLinearMatMul": _quantized_matrix_product,
    "Einsum": _einsum,
    "Attention": _attention,
}
