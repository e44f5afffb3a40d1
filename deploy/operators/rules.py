"""The rules of each operator for the toolchain, beside its description, and their registry.

Each operator has one file in this folder, with a list `OPERATORS` of its `OperatorRules`. The registry collects
those lists. Nothing here imports PyTorch or ONNX before it must: functions that need them import them.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from adroit.models.operators.counts import OperationCounts

if TYPE_CHECKING:
    import onnx
    from torch import Tensor

Shape: TypeAlias = tuple[int, ...]
# Attributes of a node by name: an int, a float or a list of ints.
Attributes: TypeAlias = Mapping[str, Any]
Dimensions: TypeAlias = "list[onnx.TensorShapeProto.Dimension]"

# The dimensions of the inputs, which may be unknown, and the attributes; to the dimensions of each output.
ShapeRule = Callable[[Sequence[Dimensions], Attributes], list[Dimensions]]
# The attributes, the shapes of the inputs and of the outputs; to what the node computes.
CountRule = Callable[[Attributes, Sequence[Shape], Sequence[Shape]], OperationCounts]
# The attributes, the shapes of the inputs (None where unknown) and a dimension of X: 2 (height) or 3 (width); to the
# smallest size of that dimension and the reason, or None where the operator has no such limit.
LimitRule = Callable[[Attributes, Sequence[Shape | None], int], tuple[int, str] | None]
# The arguments and the result of a torch operation; to the magnitude of what was summed and the number of terms.
RoundingRule = Callable[[Sequence[Any], "Tensor"], "tuple[Tensor, int]"]
# The attributes and the inputs of a node as tensors, to its first output; floats in float64.
Computation = Callable[..., "Tensor"]


@dataclass(frozen=True)
class TorchOperator:
    """The torch operator that an ONNX operator is exported from, torch.ops.adroit.<name>.

    Attributes:
        name: of the operator.
        module: the module that registers it with PyTorch.
        translate: the exporter's arguments to the ONNX node; called by torch.onnx.
    """

    name: str
    module: str
    translate: Callable[..., Any]

    def packet(self) -> Any:
        """The operator in PyTorch; imports PyTorch."""
        import torch

        importlib.import_module(self.module)
        return getattr(torch.ops.adroit, self.name)


@dataclass(frozen=True)
class OperatorRules:
    """The rules of one ONNX operator of plugins/operators.toml.

    Attributes:
        name: as in operators.toml.
        output_shapes: shape inference.
        counts: the operation counts; None where the operator is not counted.
        smallest_input: the limit of X's height and width, if there is one.
        torch_operator: what it is exported from; None where only a pass of deploy/passes makes it.
        rounding: how far float32 arithmetic may move the result of the torch operator.
        zero_is_exact: a result of 0 has no rounding error, such as a closed gate.
        compute: the operator on tensors, for parity checks part by part.
        every_bit_defined: operators.toml defines each bit of the result, so that no rounding is allowed for.
    """

    name: str
    output_shapes: ShapeRule
    counts: CountRule | None = None
    smallest_input: LimitRule | None = None
    torch_operator: TorchOperator | None = None
    rounding: RoundingRule | None = None
    zero_is_exact: bool = False
    compute: Computation | None = None
    every_bit_defined: bool = False


@functools.cache
def operator_rules() -> Mapping[str, OperatorRules]:
    """The rules of every operator, by name, from the files of this folder."""
    folder = importlib.import_module(__package__).__path__
    collected: dict[str, OperatorRules] = {}
    for module in sorted(pkgutil.iter_modules(folder), key=lambda m: m.name):
        if module.name.startswith("_"):
            continue
        listed = getattr(importlib.import_module(f"{__package__}.{module.name}"), "OPERATORS", ())
        collected.update({rules.name: rules for rules in listed})
    return collected


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The exporter's table: torch operator to the function that makes its ONNX node. Imports PyTorch."""
    exported = (rules.torch_operator for rules in operator_rules().values())
    return {operator.packet().default: operator.translate for operator in exported if operator}


@functools.cache
def rounding_rules() -> dict[Any, OperatorRules]:
    """The operators that have a rounding rule, by torch operator. Imports PyTorch."""
    return {
        rules.torch_operator.packet(): rules
        for rules in operator_rules().values()
        if rules.torch_operator and rules.rounding
    }


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node by name, as Python values."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def onnx_node(name: str) -> Callable[..., Any]:
    """The ONNX operator `name` as a callable of torch's exporter, which would inline a call without a schema."""
    from onnxscript.values import Op, Opset

    from adroit.deploy.operators.definitions import DOMAIN
    from adroit.deploy.operators.schemas import schema_of

    return Op(Opset(DOMAIN, 1), name, schema_of(name))


def convolved_dimension(
    size: onnx.TensorShapeProto.Dimension,
    kernel: onnx.TensorShapeProto.Dimension,
    stride: int,
    pad_begin: int,
    pad_end: int,
) -> onnx.TensorShapeProto.Dimension:
    """The output size of a sliding window along one dimension; unknown where an input size is."""
    from onnx import TensorShapeProto

    from adroit.models.operators.shapes import convolved_size

    if not (size.HasField("dim_value") and kernel.HasField("dim_value")):
        return TensorShapeProto.Dimension()
    number = convolved_size(size.dim_value, kernel.dim_value, stride, pad_begin, pad_end)
    return TensorShapeProto.Dimension(dim_value=number)
