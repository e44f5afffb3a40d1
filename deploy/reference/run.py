"""One run of a stored program's nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adroit.deploy.reference.check import MAX_ELEMENTS
from adroit.deploy.reference.operators import CALL, COND, GETITEM, LISTS, NUMBERS, REQUIRE, UNFILLED, bind, resolve
from adroit.deploy.reference.program import (
    Argument,
    Device,
    DType,
    Graph,
    GraphOf,
    Item,
    MemoryFormat,
    Node,
    NonFinite,
    Value,
    WeightOf,
    place,
)
from adroit.errors import AdroitError, OutOfResource, UnsupportedModel, UsageError

# Called with each node and its result (a tensor, a number, or a list of tensors) as soon as it is computed.
Observer = Callable[[Node, Any], None]
# Tensors that an operator of LISTS may give.
_MAX_PIECES = 65_536


@dataclass(frozen=True)
class Step:
    """A node, its operator, and the values that no later node needs."""

    node: Node
    function: Callable[..., Any] | None
    drop: tuple[str, ...]


def plan_of(graph: Graph) -> list[Step]:
    """The graph's nodes with their operators looked up; raises KeyError for one that is not on the list."""
    needed = {output.name for output in graph.outputs if isinstance(output, Value)}
    steps: list[Step] = []
    for node in reversed(graph.nodes):
        read = {item.name for argument in (*node.args, *node.kwargs.values()) for item in _values(argument)}
        drop = tuple(sorted((read | {node.name}) - needed))
        needed |= read
        steps.append(Step(node, resolve(node.op), drop))
    return steps[::-1]


def _values(argument: Argument) -> list[Value]:
    items = argument if isinstance(argument, list) else [argument]
    return [item for item in items if isinstance(item, Value)]


class Run:
    """Runs graphs with given weights, in float32 or float64.

    In float64 every floating type that the network writes out (`dtype=torch.float32`, `x.float()`) is float64 too,
    and what PyTorch would compute in its default type (integers times 0.5, integers divided) is computed in float64:
    a mask or a constant with float32's rounding would be an error of the reference.

    Args:
        graphs: by index. weights: by name. dtype: float32 or float64. device: of weights and inputs; on "meta"
            shapes alone are computed, and limits are held.
    """

    def __init__(
        self,
        graphs: Sequence[tuple[Graph, Sequence[Step]]],
        weights: Mapping[str, Tensor],
        dtype: torch.dtype,
        device: torch.device,
        observe: Observer | None = None,
    ) -> None:
        self._graphs, self._weights, self._dtype, self._device = graphs, weights, dtype, device
        self._double = dtype == torch.float64
        self._meta = device.type == "meta"
        self._observe = observe

    def graph(self, index: int, inputs: Sequence[Any]) -> list[Any]:
        """Results of graph `index`.

        Raises:
            UsageError: a node does not take its arguments. OutOfResource: memory ran out.
            UnsupportedModel: a node whose result stays float32 in a float64 run.
        """
        graph, steps = self._graphs[index]
        if len(inputs) != len(graph.inputs):
            raise UsageError(f"graph {index} of the stored network takes {len(graph.inputs)} inputs, got {len(inputs)}")
        values = dict(zip(graph.inputs, inputs, strict=True))
        for step in steps:
            result = self._step(step, values)
            values[step.node.name] = result
            if self._observe is not None:
                self._observe(step.node, result)
            for name in step.drop:
                values.pop(name, None)
        return [values[o.name] if isinstance(o, Value) else self._weights[o.name] for o in graph.outputs]

    def _step(self, step: Step, values: Mapping[str, Any]) -> Any:
        node = step.node
        try:
            result = self._call(node, step.function, values)
            self._check(node, result)
            return result
        except (UnsupportedModel, OutOfResource):
            raise
        except AdroitError as error:
            raise type(error)(error.message, facts=place(node) | error.facts, hint=error.hint) from error
        except MemoryError as error:
            raise OutOfResource("memory ran out while the stored network ran", facts=place(node)) from error
        except Exception as error:  # whatever an operator raises for arguments that do not fit
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            if "allocate memory" in reason:
                raise OutOfResource("memory ran out while the stored network ran", facts=place(node)) from error
            raise UsageError(
                "a step of the network does not take this input", facts=place(node) | {"reason": reason}
            ) from error

    def _call(self, node: Node, function: Callable[..., Any] | None, values: Mapping[str, Any]) -> Any:
        if node.op == COND or node.op == CALL:
            return self._nested(node, values)
        args = [self._argument(argument, values) for argument in node.args]
        if node.op == GETITEM:
            sequence, index = args
            if not isinstance(sequence, list | tuple) or type(index) is not int:
                raise TypeError("only an element of a list can be taken")
            return sequence[index]
        if node.op == REQUIRE:
            return self._require(node, *args)
        assert function is not None
        if node.op in NUMBERS:
            return self._number(function, args)
        kwargs = {name: self._argument(argument, values) for name, argument in node.kwargs.items()}
        packet = node.op.split(".")[1]
        if self._meta and packet in LISTS:
            _check_pieces(bind(function, args, kwargs))
        result = function(*args, **kwargs)
        if packet in UNFILLED:
            result = result.zero_()
        if self._double and _is_shorter(result):
            result = self._in_double(node, function, args, kwargs)
        return result

    def _nested(self, node: Node, values: Mapping[str, Any]) -> list[Any]:
        operands = [self._item(item, values) for item in _list(node.args[-1])]
        branches = [argument.index for argument in node.args if isinstance(argument, GraphOf)]
        if node.op == CALL:
            return self.graph(branches[0], operands)
        condition = self._argument(node.args[0], values)
        if not isinstance(condition, bool | Tensor) or (isinstance(condition, Tensor) and condition.numel() != 1):
            raise TypeError("a condition is one truth value")
        if self._meta:
            results = [self.graph(branch, operands) for branch in branches]
            return results[0]
        return self.graph(branches[0] if bool(condition) else branches[1], operands)

    def _require(self, node: Node, condition: Any, text: Any) -> None:
        if condition is not True:
            raise UsageError(
                "the network takes another branch of its code at this size than the one that was captured",
                facts={"needs": text},
                hint="export it with an example of this size, or with a fixed size",
            )

    def _number(self, function: Callable[..., Any], args: Sequence[Any]) -> Any:
        numbers = [n for argument in args for n in (argument if isinstance(argument, list) else [argument])]
        if any(type(number) not in (int, float, bool) for number in numbers):
            raise TypeError("arithmetic with sizes takes numbers")
        result = function(*args)
        if isinstance(result, int) and abs(result) >= 2**63:
            raise OverflowError(f"a size leaves 64 bits: {float(result):g}")
        return result

    def _argument(self, argument: Argument, values: Mapping[str, Any]) -> Any:
        if isinstance(argument, list):
            return [self._item(item, values) for item in argument]
        return self._item(argument, values)

    def _item(self, item: Item, values: Mapping[str, Any]) -> Any:
        match item:
            case Value(name):
                return values[name]
            case WeightOf(name):
                return self._weights[name]
            case DType(name):
                dtype: torch.dtype = getattr(torch, name)
                return torch.float64 if self._double and dtype.is_floating_point else dtype
            case MemoryFormat(name):
                return getattr(torch, name)
            case Device():
                return self._device
            case NonFinite(name):
                return float(name)
            case GraphOf():
                raise TypeError("a graph is given where a value belongs")
        return item

    def _in_double(self, node: Node, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result in float64 where the operator, seeing no floating tensor, used PyTorch's default type."""
        if node.op.startswith("aten.where."):
            condition, *choices = args
            result = torch.where(
                condition, *(torch.as_tensor(c, device=self._device, dtype=torch.float64) for c in choices)
            )
        else:
            given = [a.double() if isinstance(a, Tensor) else a for a in args]
            result = function(*given, **kwargs)
        if _is_shorter(result):
            raise UnsupportedModel(
                f"{node.op} gives a shorter type in a float64 run, so the reference would carry its rounding",
                facts=place(node),
                hint="give the type of a tensor that it works with: `dtype=x.dtype`",
            )
        return result

    def _check(self, node: Node, result: Any) -> None:
        results = result if isinstance(result, list | tuple) else [result]
        for one in results:
            if self._meta and isinstance(one, Tensor) and one.numel() > MAX_ELEMENTS:
                raise OutOfResource(
                    f"a step of the network asks for {one.numel():,} elements; {MAX_ELEMENTS:,} are the most",
                    facts=place(node),
                )


def _is_shorter(result: Any) -> bool:
    results = result if isinstance(result, list | tuple) else [result]
    return any(isinstance(r, Tensor) and r.is_floating_point() and r.dtype != torch.float64 for r in results)


def _list(argument: Argument) -> list[Item]:
    if not isinstance(argument, list):
        raise TypeError("operands are a list")
    return argument


def _check_pieces(given: Mapping[str, Any]) -> None:
    """A list with an element for each row would hold billions, where a file asks for it."""
    tensor, dim = given["self"], given.get("dim", 0)
    if tensor.shape[dim] > _MAX_PIECES:
        raise OverflowError(f"the tensor would be cut into as many as {tensor.shape[dim]} pieces")
