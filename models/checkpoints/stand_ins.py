"""Stands in for classes that pickles beside and in weights name, so that no code of theirs is reached.

PyTorch's safe reader makes tensors and plain data only. Training scripts also leave options and NumPy's numbers in
their files: what is listed here is read as one of the stand-ins below, which keep what the pickle says and do nothing
with it. NumPy's own reading of a crafted type could run code; `PickledArray.tensor` makes an array of what was kept
only where it is of plain numbers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from adroit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

# NumPy's codes of the kinds that PyTorch has too.
_KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")
_BYTE_ORDERS = ("<", ">", "=", "|")
_OPTIONS = (
    "argparse.Namespace",
    *(f"builtins.{name}" for name in ("dict", "float", "int", "list")),  # what a defaultdict makes
    *(f"datetime.{name}" for name in ("date", "datetime", "timedelta", "timezone")),
    *(f"numpy.{name}" for name in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool_")),
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
)
# Dictionaries by other names, of libraries that keep options in them.
_DICTIONARIES = (
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)


class PickledOptions:
    """Takes whatever a pickle gives to an object of options, and keeps nothing."""

    def __new__(cls, *_: Any) -> PickledOptions:
        """Makes an empty one of any arguments."""
        return object.__new__(cls)

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class PickledType:
    """What a pickle says of a NumPy dtype: its code and its byte order."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code
        self.order: Any = "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if isinstance(state, tuple) and len(state) > 1 else None


class PickledArray:
    """What a pickle says of a NumPy array or number; `tensor` makes it one."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        self.state = tuple(state)[-4:] if isinstance(state, tuple) else ()

    @property
    def is_number(self) -> bool:
        """Whether it has no axes."""
        return bool(self.state) and self.state[0] == ()

    def tensor(self, where: str) -> Tensor:
        """The array as a tensor of its own memory, in this machine's byte order.

        Args:
            where: file and name, for the error.

        Raises:
            UsageError: it is not of plain numbers that PyTorch has, or its bytes are not as many as its shape says.
        """
        import numpy as np
        import torch

        state: tuple[Any, ...] = self.state if len(self.state) == 4 else (None,) * 4
        shape, kind, by_column, data = state
        code: Any = getattr(kind, "code", None)
        order: Any = getattr(kind, "order", None)
        plain = (
            isinstance(kind, PickledType)
            and isinstance(code, str)
            and code in _KINDS
            and isinstance(order, str)
            and order in _BYTE_ORDERS
        )
        sizes = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
        if not plain or not sizes or not isinstance(data, bytes) or len(data) != math.prod(shape) * int(code[1]):
            raise UsageError(
                f"{where} is a NumPy array that cannot be read as weights",
                facts={"kind": code, "shape": shape},
                hint="save it as a tensor: torch.from_numpy(array)",
            )
        array = np.frombuffer(data, np.dtype(order + code)).reshape(shape, order="F" if by_column else "C")
        # Copied: the bytes of a pickle cannot be written to.
        return torch.from_numpy(array.astype(np.dtype(code), order="C", copy=True))


def _number(kind: Any = None, data: Any = None, *_: Any) -> PickledArray:
    made = PickledArray()
    made.__setstate__(((), kind, False, data))
    return made


def _no_defaults(*_: Any) -> OrderedDict[Any, Any]:
    """Reads a defaultdict; the pickle's next words fill it."""
    return OrderedDict()


def _no_bytes(*_: Any) -> bytes:
    """Reads an array without elements; `bytes` itself would also take a number, and that much memory."""
    return b""


def safe_globals() -> list[Any]:
    """The allow-list for `torch.serialization.safe_globals`: a stand-in and the name it stands for, each."""
    # Each of its own class, whose name an error can say.
    names: dict[str, Any] = {name: type(name.rpartition(".")[2], (PickledOptions,), {}) for name in _OPTIONS}
    names |= dict.fromkeys(_DICTIONARIES, OrderedDict)
    names |= {"numpy.dtype": PickledType, "numpy.ndarray": PickledArray, "builtins.bytes": _no_bytes}
    names["collections.defaultdict"] = _no_defaults
    for core in ("core", "_core"):
        names |= {f"numpy.{core}.multiarray.scalar": _number, f"numpy.{core}.multiarray._reconstruct": PickledArray}
    return [(stand_in, name) for name, stand_in in names.items()]
