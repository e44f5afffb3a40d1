"""What `reference/program.json` holds: a network as typed data.

A program is a list of nodes in the order in which they run. Each node calls one operator of the allow-list
(operators.py) with arguments that are plain values, earlier results, weights, or nested graphs.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

FORMAT = 1

DTypeName = Literal["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
DTYPES: tuple[str, ...] = get_args(DTypeName)
MemoryFormatName = Literal["contiguous_format", "preserve_format", "channels_last", "channels_last_3d"]

Text = Annotated[str, msgspec.Meta(max_length=512)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of the file: fields that are not known here are refused."""


class Value(_Data, frozen=True, tag_field="kind", tag="value"):
    """The result of an earlier node of the same graph, or one of the graph's inputs."""

    name: Name


class WeightOf(_Data, frozen=True, tag_field="kind", tag="weight"):
    """A parameter, buffer or constant tensor, by its name in the weights' file."""

    name: Name


class GraphOf(_Data, frozen=True, tag_field="kind", tag="graph"):
    """A nested graph: a branch of a condition. Its index in `Program.graphs`."""

    index: Size


class DType(_Data, frozen=True, tag_field="kind", tag="dtype"):
    """A type of elements. Floating types follow the type that the program runs in (see interpret.py)."""

    name: DTypeName


class MemoryFormat(_Data, frozen=True, tag_field="kind", tag="memory_format"):
    """PyTorch's order of a tensor's elements in memory."""

    name: MemoryFormatName


class Device(_Data, frozen=True, tag_field="kind", tag="device"):
    """The device that the program runs on; the file names none."""


class NonFinite(_Data, frozen=True, tag_field="kind", tag="number"):
    """A number that JSON has no word for."""

    name: Literal["inf", "-inf", "nan"]


Item: TypeAlias = (
    bool | Integer | float | Text | Value | WeightOf | GraphOf | DType | MemoryFormat | Device | NonFinite | None
)
Argument: TypeAlias = Item | list[Item]


class Node(_Data, frozen=True):
    """One call of an operator.

    Attributes:
        name: of the result; unique in its graph.
        op: a name of the allow-list, as `aten.conv2d.default`.
        args, kwargs: as PyTorch's operator takes them.
        module: path of the module that called it, as in `network.named_modules()`.
        source: file (without its folder) and line of the user's code, as `net.py:34`.
    """

    name: Name
    op: Name
    args: list[Argument]
    kwargs: dict[str, Argument] = {}
    module: Text = ""
    source: Text = ""


class Graph(_Data, frozen=True):
    """Nodes in the order in which they run, the names of the graph's inputs, and its results."""

    inputs: list[Name]
    nodes: list[Node]
    outputs: list[Value | WeightOf]


class InputSpec(_Data, frozen=True):
    """An input of the network.

    Attributes:
        shape: sizes; a name stands for a size that is free. One name has one size in all inputs.
        example: sizes with which the program was captured and is checked when it is read.
    """

    name: Name
    dtype: DTypeName
    shape: list[Size | Name]
    example: list[Size]


class WeightSpec(_Data, frozen=True):
    """A tensor of the weights' file.

    Attributes:
        requires_grad: as in the network. PyTorch orders the additions of a matrix product by it, so that results
            differ in their last bits.
    """

    name: Name
    dtype: DTypeName
    shape: list[Size]
    requires_grad: bool = False


class Program(_Data, frozen=True):
    """A whole network. `graphs[0]` is the network itself; `outputs` names its results in order."""

    format: int
    inputs: list[InputSpec]
    outputs: list[Name]
    weights: list[WeightSpec]
    graphs: list[Graph]


def place(node: Node) -> dict[str, str]:
    """Where a node comes from: facts of an error message."""
    facts = {"operator": node.op, "module": node.module or "(the network itself)", "source": node.source}
    return {key: value for key, value in facts.items() if value}
