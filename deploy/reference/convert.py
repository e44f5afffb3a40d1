"""From PyTorch's exported program to the stored program and its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

from adroit.deploy.reference.check import check_node
from adroit.deploy.reference.conditions import size_conditions
from adroit.deploy.reference.operators import CALL, COND, GETITEM, NUMBERS
from adroit.deploy.reference.places import module_of, source_of
from adroit.deploy.reference.program import (
    DTYPES,
    FORMAT,
    Argument,
    Device,
    DType,
    Graph,
    GraphOf,
    InputSpec,
    Item,
    MemoryFormat,
    Node,
    NonFinite,
    Program,
    Value,
    WeightOf,
    WeightSpec,
    place,
)
from adroit.errors import UnsupportedModel

if TYPE_CHECKING:
    from adroit.deploy.reference.capture import CapturedInput

# Statements about sizes that hold by themselves: PyTorch's operators check them again.
_ASSERTIONS = ("aten._assert_", "aten.sym_constrain_range")
_NAMES = {str(function): name for name, function in NUMBERS.items()}
_RMS_NORM = "aten.rms_norm.default"
# Without a type these give the default type, which another process may have set otherwise.
_FACTORIES = ("arange", "empty", "eye", "full", "linspace", "ones", "scalar_tensor", "zeros")


def program_from_exported(
    exported: ExportedProgram,
    network: nn.Module,
    inputs: Sequence[CapturedInput],
    examples: Sequence[Tensor],
    outputs: Sequence[str],
) -> tuple[Program, dict[str, Tensor]]:
    """The program and its weights by name.

    Args:
        exported: of `network`, not functionalized: its operators are those that the network calls.
        examples: what it was captured with. outputs: names in order.

    Raises:
        UnsupportedModel: an operator or argument that a program cannot hold; names module and source line.
    """
    converter = _Converter(exported)
    graph = converter.main_graph(size_conditions(exported, [given.free for given in inputs]))
    specs = [
        InputSpec(given.name, _dtype(x.dtype), [given.free.get(i, n) for i, n in enumerate(x.shape)], list(x.shape))
        for given, x in zip(inputs, examples, strict=True)
    ]
    weights = {name: tensor for name, tensor in converter.weights.items() if name in converter.used}
    declared = [
        WeightSpec(name, _dtype(tensor.dtype), list(tensor.shape), name in converter.trained)
        for name, tensor in weights.items()
    ]
    return Program(FORMAT, specs, list(outputs), declared, [graph, *converter.nested]), weights


def _dtype(dtype: torch.dtype) -> Any:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise UnsupportedModel(f"the network uses {name} tensors", hint="use real numbers of 16 to 64 bits")
    return name


class _Converter:
    """Names, weights and nested graphs that the conversion collects."""

    def __init__(self, exported: ExportedProgram) -> None:
        self._exported = exported
        self.nested: list[Graph] = []
        self.used: set[str] = set()
        self.weights: dict[str, Tensor] = {}
        self.trained: set[str] = set()
        self._weight_of: dict[str, str] = {}  # placeholder to the weight's name; tied ones share the first
        seen: dict[tuple[object, ...], str] = {}
        for spec in exported.graph_signature.input_specs:
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                assert spec.target is not None
                tensor = exported.state_dict.get(spec.target, exported.constants.get(spec.target))
                assert isinstance(tensor, Tensor)
                key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
                name = seen.setdefault(key, spec.target) if tensor.numel() else spec.target
                self._weight_of[spec.arg.name] = name
                self.trained |= {name} if tensor.requires_grad else set()
                self.weights.setdefault(name, tensor.detach().contiguous().clone())
            elif spec.kind != InputKind.USER_INPUT:
                raise UnsupportedModel(f"the network has an input of a kind that cannot be stored: {spec.kind.name}")

    def main_graph(self, conditions: Sequence[Node]) -> Graph:
        """The network's own graph; first come the conditions on sizes."""
        placeholders = {spec.arg.name for spec in self._exported.graph_signature.input_specs} - set(self._weight_of)
        graph = self._graph(
            self._exported.graph_module, [n for n in self._exported.graph.nodes if n.name in placeholders]
        )
        return Graph(graph.inputs, [*conditions, *graph.nodes], graph.outputs)

    def _graph(self, module: fx.GraphModule, inputs: Sequence[fx.Node]) -> Graph:
        needed = _needed(module.graph)
        nodes = []
        for node in module.graph.nodes:
            if node.op == "call_function" and node in needed:
                nodes.append(self._node(module, node))
        (output,) = (node for node in module.graph.nodes if node.op == "output")
        results = [self._item(value) for value in _flat(output.args[0])]
        for result in results:
            if not isinstance(result, Value | WeightOf):
                raise UnsupportedModel(f"the network returns {result!r}, not a tensor", hint="return tensors only")
        return Graph([node.name for node in inputs], nodes, results)  # type: ignore[arg-type]

    def _node(self, module: fx.GraphModule, node: fx.Node) -> Node:
        at = Node(node.name, _operator_name(node.target), [], {}, module_of(node.meta), source_of(node.meta))
        value = node.meta.get("val")
        if any(free_unbacked_symbols(v) for v in _flat(value) if isinstance(v, Tensor | torch.SymInt | torch.SymFloat)):
            raise UnsupportedModel(
                f"the shape of a result of {at.op} depends on the data",
                facts=place(at),
                hint="keep the shape and mask the values: `torch.where(mask, x, 0)` in place of `x[mask]`",
            )
        try:
            converted = self._call(module, node, at)
        except _NotData as error:
            raise UnsupportedModel(
                f"an argument of {at.op} cannot be stored: {error}",
                facts=place(at),
                hint="give numbers and tensors only",
            ) from None
        check_node(converted)
        return converted

    def _call(self, module: fx.GraphModule, node: fx.Node, at: Node) -> Node:
        """A node with its arguments; higher-order ones become branches."""
        if at.op == "cond":
            condition, one, other, operands = node.args
            branches = [self._branch(module, graph) for graph in (one, other)]
            args: list[Argument] = [self._item(condition), *branches, [self._item(o) for o in _flat(operands)]]
            return Node(at.name, COND, args, {}, at.module, at.source)
        if at.op in ("wrap_with_set_grad_enabled", "wrap_with_autocast"):
            first = next(i for i, a in enumerate(node.args) if isinstance(a, fx.Node) and a.op == "get_attr")
            if at.op == "wrap_with_autocast" and node.args[2]:
                raise UnsupportedModel(
                    "the network computes in a shorter type by torch.autocast",
                    facts=place(at),
                    hint="leave autocast out of the network: adroit chooses the types when it builds",
                )
            args = [self._branch(module, node.args[first]), [self._item(o) for o in node.args[first + 1 :]]]
            return Node(at.name, CALL, args, {}, at.module, at.source)
        kwargs = {name: self._argument(value) for name, value in node.kwargs.items() if not _is_default(name, value)}
        if at.op.split(".")[1:2] and at.op.split(".")[1] in _FACTORIES and "dtype" not in kwargs:
            kwargs["dtype"] = DType(_dtype(node.meta["val"].dtype))
        arguments = [self._argument(a) for a in node.args]
        if at.op == _RMS_NORM and (len(arguments) < 4 or arguments[3] is None) and kwargs.get("eps") is None:
            # Without one it is that of the type that runs: float64 would compute another function.
            kwargs.pop("eps", None)
            arguments = [*arguments, *[None] * 3][:3] + [torch.finfo(node.meta["val"].dtype).eps]
        return Node(at.name, at.op, arguments, kwargs, at.module, at.source)

    def _branch(self, module: fx.GraphModule, node: Any) -> GraphOf:
        """The nested graph that `node` names; its index is higher than its parent's."""
        index = len(self.nested) + 1
        self.nested.append(Graph([], [], []))  # holds the place: graphs within it come after it
        inner = getattr(module, node.target)
        self.nested[index - 1] = self._graph(inner, [n for n in inner.graph.nodes if n.op == "placeholder"])
        return GraphOf(index)

    def _argument(self, value: Any) -> Argument:
        if isinstance(value, list | tuple):
            return [self._item(one) for one in value]
        return self._item(value)

    def _item(self, value: Any) -> Item:
        match value:
            case fx.Node():
                if value.name in self._weight_of:
                    self.used.add(self._weight_of[value.name])
                    return WeightOf(self._weight_of[value.name])
                return Value(value.name)
            case torch.dtype():
                return DType(_dtype(value))
            case torch.memory_format():
                return MemoryFormat(str(value).removeprefix("torch."))  # type: ignore[arg-type]
            case torch.device():
                return Device()
            case float():
                return value if math.isfinite(value) else NonFinite(str(value))  # type: ignore[arg-type]
            case None | bool() | int() | str():
                return value
        raise _NotData(type(value).__name__)


class _NotData(Exception):
    """An argument that is no plain data."""


def _is_default(name: str, value: object) -> bool:
    return (name == "layout" and value in (None, torch.strided)) or (name == "pin_memory" and not value)


def _flat(value: Any) -> list[Any]:
    return [one for part in value for one in _flat(part)] if isinstance(value, list | tuple) else [value]


def _needed(graph: fx.Graph) -> set[fx.Node]:
    """Nodes whose results, or whose changes of a tensor in place, reach the output."""
    needed: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        wanted = node.op == "output" or any(user in needed for user in node.users) or _writes(node)
        if wanted and not _operator_name(node.target).startswith(_ASSERTIONS):
            needed.add(node)
    return needed


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _operator_name(target: Any) -> str:
    """The name in the program: `aten.conv2d.default`, `operator.mul`, `cond`."""
    if isinstance(target, torch._ops.HigherOrderOperator):
        return str(target.name())
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    if str(target) in _NAMES:
        return _NAMES[str(target)]
    return GETITEM if getattr(target, "__name__", "") == "getitem" else str(getattr(target, "__name__", target))
