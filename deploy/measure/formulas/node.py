"""A node of a graph at a given size, as the formulas see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from adroit.models.operators.counts import OperationCounts

Shape: TypeAlias = tuple[int, ...]


class UncountedOperator(Exception):
    """Says why the operations of a node are not known; its text is the reason that reports give."""


@dataclass(frozen=True)
class SizedNode:
    """A node, and what is known of the values it takes and gives.

    Attributes:
        proto: the node.
        shapes: of values by name, where they are known.
        values: small constants by name, such as an exponent.
    """

    proto: onnx.NodeProto
    shapes: Mapping[str, Shape]
    values: Mapping[str, NDArray[Any]]

    def has(self, index: int) -> bool:
        """Whether the optional input is given."""
        return len(self.proto.input) > index and bool(self.proto.input[index])

    def input(self, index: int = 0) -> Shape:
        """The shape of an input; raises UncountedOperator where it is not known."""
        return self._shape(self.proto.input, index)

    def output(self, index: int = 0) -> Shape:
        """The shape of an output; raises UncountedOperator where it is not known."""
        return self._shape(self.proto.output, index)

    @property
    def elements(self) -> int:
        """How many elements the first output has."""
        return prod(self.output())

    @property
    def input_shapes(self) -> list[Shape]:
        """The shapes of all inputs that are given."""
        return [self.input(i) for i in range(len(self.proto.input)) if self.has(i)]

    @property
    def output_shapes(self) -> list[Shape]:
        """The shapes of all outputs that are given."""
        return [self.output(i) for i, name in enumerate(self.proto.output) if name]

    def attribute(self, name: str, default: Any) -> Any:
        """The value of an attribute; strings as str."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def number(self, index: int) -> float | None:
        """The value of an input that is a constant of one element, or None."""
        value = self.values.get(self.proto.input[index]) if self.has(index) else None
        return None if value is None or value.size != 1 else float(np.asarray(value, np.float64).reshape(()))

    def _shape(self, names: Any, index: int) -> Shape:
        if index >= len(names) or not names[index]:
            raise UncountedOperator("it lacks an input or output that its formula needs")
        try:
            return self.shapes[names[index]]
        except KeyError:
            raise UncountedOperator(f"the shape of {names[index]} is not known") from None


Formula = Callable[[SizedNode], OperationCounts]


def per_output(elementwise: int = 0, transcendental: int = 0) -> Formula:
    """The formula of so many operations for each element of the first output."""

    def formula(node: SizedNode) -> OperationCounts:
        elements = node.elements
        return OperationCounts(elementwise=elements * elementwise, transcendental=elements * transcendental)

    return formula


def per_input(elementwise: int = 1) -> Formula:
    """The formula of so many operations for each element of the first input."""
    return lambda node: OperationCounts(elementwise=prod(node.input()) * elementwise)


def nothing(node: SizedNode) -> OperationCounts:
    """The formula of operators without arithmetic; it needs no shape."""
    return OperationCounts()
