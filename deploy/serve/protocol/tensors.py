"""The tensors of requests, and arrays from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.serve.protocol.datatypes import dtype_from_datatype
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid

RawBytes = bytes | bytearray | memoryview


@dataclass(frozen=True)
class RequestTensor:
    """A tensor of a request, its content not read yet.

    Attributes:
        content: little-endian bytes, row by row; or numbers, row by row.

    Raises:
        Refusal: a scalar, or a dimension below 1.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: RawBytes | Sequence[Any]

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise invalid(f"input {self.name[:80]}: a tensor has dimensions, and every one is 1 or more")


def array_from_tensor(tensor: RequestTensor) -> NDArray[Any]:
    """Return the tensor as an array; where the content is bytes, a view of them.

    Raises:
        Refusal: content that is not what datatype and shape need.
    """
    try:
        dtype = dtype_from_datatype(tensor.datatype)
    except KeyError:
        raise invalid(f"input {tensor.name}: no model here takes datatype {tensor.datatype[:20]!r}") from None
    count = math.prod(tensor.shape)
    if isinstance(tensor.content, RawBytes):
        size = len(tensor.content)
        if size != count * dtype.itemsize:
            raise invalid(f"input {tensor.name} has {size} bytes, its shape needs {count * dtype.itemsize}")
        return np.frombuffer(tensor.content, dtype).reshape(tensor.shape)
    if len(tensor.content) != count:
        raise invalid(f"input {tensor.name} has {len(tensor.content)} values, its shape needs {count}")
    return _from_numbers(tensor, dtype)


def _from_numbers(tensor: RequestTensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        with np.errstate(over="raise"):
            return np.array(tensor.content, dtype).reshape(tensor.shape)
    except (OverflowError, FloatingPointError):
        raise invalid(f"input {tensor.name} has a value that {tensor.datatype} cannot hold") from None
    except (TypeError, ValueError):
        raise invalid(f"input {tensor.name} has values that are not {tensor.datatype}") from None


def bytes_from_array(array: NDArray[Any]) -> bytes:
    """Return the array's bytes, row by row, little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def no_classification(name: str) -> Refusal:
    """Return the refusal of an output whose classes a client wants as texts: passed over, it would read numbers."""
    return invalid(
        f"output {name[:80]}: this server sends tensors, no classification; /predict gives labels of an image"
    )


def slice_bytes(buffer: memoryview, offset: int, size: int, name: str) -> memoryview:
    """Return `size` bytes of `buffer` from `offset`; raises Refusal where it ends before."""
    if offset + size > len(buffer):
        raise Refusal(Reason.INVALID, f"the body ends before the {size} bytes of input {name}")
    return buffer[offset : offset + size]
