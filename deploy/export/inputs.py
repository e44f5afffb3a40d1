"""What a user's network takes: one image, or named tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adroit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from adroit.deploy.reference.capture import CapturedInput

IMAGE = "image"
# A free dimension that the user gave a letter has so many in the example that the network is captured with.
USUAL_SIZE = 16
_DTYPES = ("float32", "float16", "float64", "int64", "int32", "uint8", "bool")
_HINT = "give NAME=DIMS[:DTYPE], as state=4, tokens=Lx16 or ids=L:int64; letters are free dimensions"


@dataclass(frozen=True)
class NamedInput:
    """An input that is no image.

    Attributes:
        dims: of one sample, without the batch; a name stands for a free dimension.
        dtype: NumPy's name of it.
    """

    name: str
    dims: tuple[int | str, ...]
    dtype: str = "float32"


def read_input(text: str) -> NamedInput:
    """NAME=DIMS[:DTYPE] of the command line.

    Raises:
        UsageError: text that is none, a size below 1 or a dtype that no input has.
    """
    found = re.fullmatch(r"([A-Za-z_]\w{0,63})=((?:\d+|[A-Za-z]\w*?)(?:x(?:\d+|[A-Za-z]\w*?))*)(?::(\w+))?", text)
    if found is None:
        raise UsageError(f"--input {text} is not an input", hint=_HINT)
    dims = tuple(int(part) if part.isdigit() else part for part in found[2].split("x"))
    return checked_input(NamedInput(found[1], dims, found[3] or "float32"))


def checked_input(given: NamedInput) -> NamedInput:
    """Returns `given`; raises UsageError for a size below 1, a reserved name or a dtype that no input has."""
    if given.dtype not in _DTYPES:
        raise UsageError(f"input {given.name}: {given.dtype} is none of {', '.join(_DTYPES)}", hint=_HINT)
    for size in given.dims:
        if size == "batch" or (isinstance(size, int) and not 1 <= size < 2**31):
            raise UsageError(f"input {given.name}: {size} is no size or name of one sample's dimension", hint=_HINT)
    return given


def image_input(channels: int, size: tuple[int, int], fixed: bool) -> list[CapturedInput]:
    """One image, [N,channels,H,W] float32; with `fixed` the batch alone is free."""
    import torch

    from adroit.deploy.reference.capture import CapturedInput

    free = {0: "batch"} if fixed else {0: "batch", 2: "height", 3: "width"}
    return [CapturedInput(IMAGE, torch.zeros(2, channels, *size), free)]


def free_dimensions(inputs: Sequence[NamedInput], usual: Mapping[str, int]) -> dict[str, int]:
    """What the free dimensions of `inputs` usually are, by name: USUAL_SIZE where `usual` does not say.

    Raises:
        UsageError: `usual` names a dimension that no input has, or a size below 1.
    """
    names = {size for given in inputs for size in given.dims if isinstance(size, str)}
    for name, size in usual.items():
        if name not in names or size < 1:
            raise UsageError(
                f"{name}={size} is no size of a free dimension",
                facts={"free dimensions": ", ".join(sorted(names)) or "none"},
                hint="name letters of --input, with sizes of at least 1",
            )
    return {name: usual.get(name, USUAL_SIZE) for name in sorted(names)}


def named_inputs(inputs: Sequence[NamedInput], sizes: Mapping[str, int]) -> list[CapturedInput]:
    """Examples for the inputs, the batch first: random numbers, or zeros where they are integers.

    Args:
        sizes: of the free dimensions, by name.

    Raises:
        UsageError: two inputs of one name.
    """
    import torch

    from adroit.deploy.reference.capture import CapturedInput

    names = [given.name for given in inputs]
    if len(set(names)) < len(names):
        raise UsageError(f"two inputs have one name: {', '.join(names)}")
    generator = torch.Generator().manual_seed(0)
    captured = []
    for given in inputs:
        shape = [2, *(size if isinstance(size, int) else sizes[size] for size in given.dims)]
        dtype = getattr(torch, given.dtype)
        floating = dtype.is_floating_point
        example = torch.randn(shape, generator=generator).to(dtype) if floating else torch.zeros(shape, dtype=dtype)
        free = {0: "batch"} | {i + 1: size for i, size in enumerate(given.dims) if isinstance(size, str)}
        captured.append(CapturedInput(given.name, example, free))
    return captured


def inputs_of_examples(examples: Mapping[str, Tensor]) -> list[NamedInput]:
    """The inputs that tensors are examples of: [N,...] each, of which the batch alone is free.

    Raises:
        UsageError: a tensor without a batch, or of a dtype that no input has.
    """
    inputs = []
    for name, example in examples.items():
        if example.dim() == 0:
            raise UsageError(f"the example of input {name} is a number: give [N,...]")
        inputs.append(checked_input(NamedInput(name, tuple(example.shape[1:]), str(example.dtype).partition(".")[2])))
    return inputs
