"""Conditions on the inputs' sizes under which a captured program is the network.

Where the user's code branches on a size (`if x.shape[2] % 2:`) one branch is captured. The condition is stored as
nodes that compute it and a node that requires it, so that another size is refused rather than computed wrongly.
What PyTorch's operators ask of sizes is left out: they check it again when they run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._sympy import functions

from adroit.deploy.reference.operators import REQUIRE
from adroit.deploy.reference.places import is_library
from adroit.deploy.reference.program import Argument, Node, Value
from adroit.errors import UnsupportedModel

_FUNCTIONAL = f"{Path(torch.__file__).parent / 'nn'}/"
_BINARY: dict[type, str] = {
    functions.FloorDiv: "operator.floordiv",
    functions.CleanDiv: "operator.floordiv",
    functions.Mod: "operator.mod",
    functions.PythonMod: "operator.mod",
    functions.Max: "torch.sym_max",
    functions.Min: "torch.sym_min",
    sympy.Max: "torch.sym_max",
    sympy.Min: "torch.sym_min",
    sympy.Add: "operator.add",
    sympy.Mul: "operator.mul",
    sympy.And: "operator.and_",
    sympy.Or: "operator.or_",
    sympy.Eq: "operator.eq",
    sympy.Ne: "operator.ne",
    sympy.LessThan: "operator.le",
    sympy.StrictLessThan: "operator.lt",
    sympy.GreaterThan: "operator.ge",
    sympy.StrictGreaterThan: "operator.gt",
}


def size_conditions(exported: ExportedProgram, free: Sequence[Mapping[int, str]]) -> list[Node]:
    """Nodes that go before all others of the program.

    Args:
        free: names of the free sizes of each input, by dimension: for messages.

    Raises:
        UnsupportedModel: a condition that cannot be written with arithmetic of whole numbers.
    """
    inputs = {s.arg.name for s in exported.graph_signature.input_specs if s.kind == InputKind.USER_INPUT}
    tensors = {n.name: n.meta["val"] for n in exported.graph.nodes if n.op == "placeholder" and n.name in inputs}
    writer = _Writer()
    environment: ShapeEnv | None = None
    for (name, tensor), names in zip(tensors.items(), free, strict=True):
        for axis, size in enumerate(tensor.shape):
            if isinstance(size, torch.SymInt):
                environment = size.node.shape_env
                writer.size(size.node.expr, name, axis, names.get(axis, str(axis)))
    for guard in environment.guards if environment is not None else ():
        assert environment is not None
        source = _branch_source(guard.sloc)
        expression = environment.replace(guard.expr)
        if source is not None and expression not in (True, sympy.true):
            writer.require(expression, source)
    return writer.nodes


def _branch_source(location: Any) -> str | None:
    """The line that branched: the user's code, or torch.nn's Python. None where an operator checks."""
    frame = location.maybe_user_loc or location.framework_loc
    file = getattr(frame, "filename", "")
    if not file or (is_library(file) and not file.startswith(_FUNCTIONAL)):
        return None
    return f"{Path(file).name}:{frame.lineno}"


class _Writer:
    """Writes expressions of sizes as nodes."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._sizes: dict[sympy.Symbol, Value] = {}
        self._names: dict[sympy.Symbol, sympy.Symbol] = {}

    def size(self, expression: Any, tensor: str, axis: int, name: str) -> None:
        """The size of an input: names a symbol, or must equal what the symbol's first place has."""
        here = self._add("aten.sym_size.int", [Value(tensor), axis], "")
        if isinstance(expression, sympy.Symbol) and expression not in self._sizes:
            self._sizes[expression] = here
            self._names[expression] = sympy.Symbol(name, integer=True, positive=True)
        else:
            equal = self._add("operator.eq", [here, self._value(expression, "")], "")
            self._add(REQUIRE, [equal, f"{name} of {tensor} equal to {self._text(expression)}"], "")

    def require(self, expression: Any, source: str) -> None:
        """A condition that the branch at `source` was captured under."""
        self._add(REQUIRE, [self._value(expression, source), self._text(expression)], source)

    def _text(self, expression: Any) -> str:
        return str(expression.xreplace(self._names))[:500]

    def _add(self, op: str, args: Sequence[Argument], source: str) -> Value:
        node = Node(f"size_{len(self.nodes)}", op, list(args), {}, "", source)
        self.nodes.append(node)
        return Value(node.name)

    def _value(self, expression: Any, source: str) -> Any:
        if expression in self._sizes:
            return self._sizes[expression]
        if isinstance(expression, sympy.Integer):
            return int(expression)
        if isinstance(expression, sympy.Pow) and expression.exp.is_Integer and 0 < int(expression.exp) < 9:
            base = self._value(expression.base, source)
            return reduce(lambda a, b: self._add("operator.mul", [a, b], source), [base] * int(expression.exp))
        if isinstance(expression, sympy.Not):
            return self._add("operator.not_", [self._value(expression.args[0], source)], source)
        op = _BINARY.get(type(expression))
        if op is None:
            raise UnsupportedModel(
                f"the network branches on sizes by a condition that cannot be stored: {expression}",
                facts={"source": source},
                hint="export it with a fixed size",
            )
        parts = [self._value(part, source) for part in expression.args]
        return reduce(lambda a, b: self._add(op, [a, b], source), parts)
