"""A stored network as a PyTorch module: `StoredProgram`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from adroit.deploy.reference.check import check_program, check_weights
from adroit.deploy.reference.program import InputSpec, Program
from adroit.deploy.reference.run import Observer, Run, plan_of
from adroit.errors import UsageError


class StoredProgram(nn.Module):
    """Runs a captured network, in float32 or, after `.double()`, in float64.

    In float32 on the CPU its results are the network's own bit for bit. It is in evaluation mode, computes no
    gradients, and changes neither its inputs nor its weights.

    Args:
        program: the nodes. weights: every tensor that it declares, by name.

    Raises:
        UsageError: a program or weights that are damaged or do not fit each other.
        UnsupportedModel: an operator that is not on the list.
        OutOfResource: a program that asks for more memory than any network does.
    """

    _type: Tensor

    def __init__(self, program: Program, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        check_program(program)
        check_weights(program, weights, "the weights' file")
        self.program = program
        self._graphs = [(graph, plan_of(graph)) for graph in program.graphs]
        # Names come from a file: they are keys, never attributes.
        self._keys = {spec.name: f"w{index}" for index, spec in enumerate(program.weights)}
        for spec in program.weights:
            tensor = weights[spec.name].detach()
            if spec.requires_grad:
                self.register_parameter(self._keys[spec.name], nn.Parameter(tensor))
            else:
                self.register_buffer(self._keys[spec.name], tensor)
        self.register_buffer("_type", torch.zeros(()), persistent=False)  # follows `.to(dtype)`
        self._checked: dict[tuple[object, ...], list[tuple[int, ...]]] = {}  # to the shapes of the outputs
        self.eval()
        for dtype in (torch.float32, torch.float64):
            self._check_sizes([spec.example for spec in program.inputs], dtype)

    @property
    def dtype(self) -> torch.dtype:
        """The type that it computes in."""
        return self._type.dtype

    def weight(self, name: str) -> Tensor:
        """The parameter, buffer or constant `name`, as the program holds it now."""
        weight: Tensor = getattr(self, self._keys[name])
        return weight

    def forward(self, *inputs: Tensor, observe: Observer | None = None) -> dict[str, Tensor]:
        """The network's outputs by name.

        Args:
            inputs: in the order of `program.inputs`; floating ones are converted to the program's type.
            observe: called with every node and its result, for instance to compare layer by layer.

        Raises:
            UsageError: inputs of a wrong number, shape or type.
            OutOfResource: memory ran out.
        """
        if self.dtype not in (torch.float32, torch.float64):
            raise UsageError(f"the reference runs in float32 or float64, not {self.dtype}")
        self._check_inputs(inputs)
        with torch.no_grad():
            self._check_sizes([list(x.shape) for x in inputs], self.dtype)
            weights = {name: self.weight(name) for name in self._keys}
            run = Run(self._graphs, weights, self.dtype, self._type.device, observe)
            copies = [self._copy(spec, x) for spec, x in zip(self.program.inputs, inputs, strict=True)]
            results = run.graph(0, copies)
        return dict(zip(self.program.outputs, results, strict=True))

    def output_shapes(self, shapes: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
        """The shapes of the outputs for inputs of these shapes, without computing a value; raises as `forward`."""
        return self._check_sizes(shapes, self.dtype)

    def _copy(self, spec: InputSpec, x: Tensor) -> Tensor:
        """A copy in the type that the network takes, since it may work in place."""
        return x.detach().to(_kind(spec.dtype, self.dtype), copy=True)

    def _check_inputs(self, inputs: Sequence[Tensor]) -> None:
        specs = self.program.inputs
        names = ", ".join(spec.name for spec in specs)
        if len(inputs) != len(specs):
            raise UsageError(f"the network takes {len(specs)} inputs ({names}), got {len(inputs)}")
        sizes: dict[str, int] = {}
        for spec, x in zip(specs, inputs, strict=True):
            floating = getattr(torch, spec.dtype).is_floating_point
            if x.is_floating_point() != floating or not (floating or str(x.dtype) == f"torch.{spec.dtype}"):
                raise UsageError(f"the input {spec.name} is {x.dtype}, expected torch.{spec.dtype}")
            if not _fits(spec, x.shape, sizes):
                raise UsageError(f"the input {spec.name} is {list(x.shape)}, expected {spec.shape}")

    def _check_sizes(self, shapes: Sequence[Sequence[int]], dtype: torch.dtype) -> list[tuple[int, ...]]:
        """Runs the program on shapes alone, once for each set of them: nothing is allocated before it fits."""
        key = (dtype, *(tuple(shape) for shape in shapes))
        if key in self._checked:
            return self._checked[key]
        meta = torch.device("meta")
        weights = {w.name: torch.empty(w.shape, device=meta, dtype=_kind(w.dtype, dtype)) for w in self.program.weights}
        inputs = [
            torch.empty(tuple(shape), device=meta, dtype=_kind(spec.dtype, dtype))
            for spec, shape in zip(self.program.inputs, shapes, strict=True)
        ]
        with torch.no_grad():
            results = Run(self._graphs, weights, dtype, meta).graph(0, inputs)
        changed = [name for name, tensor in weights.items() if tensor._version]
        if changed:
            raise UsageError(
                f"the network changes its own weight or buffer {changed[0]} when it runs",
                hint="a deployed network keeps no state: update the buffer in training only",
            )
        if not all(isinstance(result, Tensor) for result in results):
            raise UsageError("an output of the stored network is no tensor")
        self._checked[key] = [tuple(result.shape) for result in results]
        return self._checked[key]


def _fits(spec: InputSpec, shape: Sequence[int], sizes: dict[str, int]) -> bool:
    """Whether `shape` is the input's; `sizes` collects what each free name stands for."""
    return len(shape) == len(spec.shape) and all(
        size == (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted)
        for size, wanted in zip(shape, spec.shape, strict=True)
    )


def _kind(name: str, dtype: torch.dtype) -> torch.dtype:
    """The type `name`; in a float64 run every floating type is float64."""
    kind: torch.dtype = getattr(torch, name)
    return dtype if kind.is_floating_point and dtype == torch.float64 else kind
