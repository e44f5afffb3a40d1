"""Reads the weights in a file that somebody published, whatever they are wrapped in. Nothing in it is executed."""

from __future__ import annotations

import pickle
import re
import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adroit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

# Fields under which training scripts put the weights, beside optimizer and schedule, and words in those of averages.
PLAIN_KEYS = ("state_dict", "model", "model_state_dict", "model_state", "net", "network", "weights", "params")
AVERAGE_WORDS = {"ema", "swa", "avg", "average", "averaged", "teacher"}
# What PyTorch's own wrappers put before every name: several devices, and torch.compile.
WRAPPER_PREFIXES = ("module.", "_orig_mod.")
# Classes of bookkeeping (options, best accuracy) beside the weights. An empty stand-in is made in their place:
# NumPy's own reading of a crafted type could run code.
_BOOKKEEPING = (
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
)


def read_weights(file: Path, key: str | None = None) -> dict[str, Tensor]:
    """Reads the tensors of a `.safetensors` file, or of a PyTorch file of any format, by their names.

    PyTorch's reader runs with weights_only=True and never falls back to the other: no code of the file is run. The
    weights may be the file's whole content or a table in it ("state_dict", "model", ...), beside an optimizer's state
    and other bookkeeping. Prefixes of PyTorch's own wrappers, `module.` and `_orig_mod.`, are taken off where every
    tensor has them; `fit_weights` takes off others where the network wants that.

    Args:
        file: .pth, .pt, .pth.tar, .bin, .ckpt or .safetensors; the content tells the format, not the name.
        key: the table that holds the weights, as "ema" or "ema.state_dict"; found by itself if None.

    Raises:
        UsageError: a missing, truncated or unreadable file; a pickle of anything but plain data; no tensors in it;
            several tables of weights (plain and averaged ones, for one) and no `key`; a key that is not there.
    """
    if not file.is_file():
        raise UsageError(f"there is no such checkpoint: {file}")
    if _is_safetensors(file):
        from safetensors.torch import load_file

        try:
            content: Any = load_file(file)
        except Exception as error:
            raise _unreadable(file, error) from error
    else:
        content = _read_pytorch(file)
    return _without_wrappers(_check_tensors(_choose_table(content, file, key), file))


def _is_safetensors(file: Path) -> bool:
    """A length of eight bytes, then JSON. A file of that name which has been cut short is one too."""
    try:
        with open(file, "rb") as opened:
            head = opened.read(9)
    except OSError as error:
        raise UsageError(f"cannot read checkpoint {file}", facts={"reason": error}) from error
    return file.suffix == ".safetensors" or (len(head) == 9 and head[8:] == b"{" and not any(head[5:8]))


def _read_pytorch(file: Path) -> Any:
    import torch

    stand_ins: list[Any] = [(_stand_in(name), name) for name in _BOOKKEEPING]
    try:
        # Warnings of pickle protocols; what matters comes as an error.
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{file} is refused: it is not a plain tensor dictionary",
            facts={"reason": _reason(error)},
            hint="loading it would run its code; save `network.state_dict()` where you trust it, and import that",
        ) from error
    except Exception as error:  # a damaged file makes PyTorch raise almost anything
        raise _archive_fault(file) or _unreadable(file, error) from error


def _stand_in(name: str) -> type:
    """A class that takes whatever a pickle gives to the one of this name, and keeps nothing."""
    methods = {"__new__": lambda cls, *_: object.__new__(cls), "__init__": lambda self, *_: None}
    return type(name.rpartition(".")[2], (), {**methods, "__setstate__": lambda self, state: None})


def _unreadable(file: Path, error: Exception) -> UsageError:
    return UsageError(
        f"cannot read checkpoint {file}",
        facts={"reason": _reason(error)},
        hint="the file is truncated or not a PyTorch checkpoint; compare its size and sha256 with the publisher's",
    )


def _archive_fault(file: Path) -> UsageError | None:
    """What to say of archives that PyTorch does not read as weights; None for any other file."""
    if tarfile.is_tarfile(file):  # before zip: one that ends with a zip file in it looks like that too
        with tarfile.open(file) as archive:
            names = set(archive.getnames())
        kind = "" if "storages" in names else "tar"
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as zipped:
            names = {name.rpartition("/")[2] for name in zipped.namelist()}
        kind = "" if "data.pkl" in names else "zip"
    else:
        return None
    if kind:
        return UsageError(f"{file} is an archive of files ({kind})", hint="unpack it, and give the checkpoint in it")
    if "constants.pkl" in names or "storages" in names:
        program = "a TorchScript program" if "constants.pkl" in names else "of PyTorch's first format (tar)"
        return UsageError(
            f"{file} is refused: it is {program}, which cannot be read without running its code",
            hint="load it where you trust it, save the network's `state_dict()`, and import that",
        )
    return None


def _reason(error: Exception) -> str:
    """PyTorch's text down to what it met: it also advises to load unsafely, as an attacker would wish."""
    text = str(error).rpartition("WeightsUnpickler error: ")[2]
    called = re.search(r"(?:GLOBAL|global:?|class) `?([A-Za-z_][\w]*(?:\.\w+)+)", text)
    return (
        f"it would call {called[1]}"
        if called
        else re.split(r"\n| In PyTorch ", text.strip())[0] or type(error).__name__
    )


def _choose_table(content: Any, file: Path, key: str | None) -> Mapping[Any, Any]:
    """The table of `content` that holds the weights."""
    if not isinstance(content, Mapping) or not content:
        kind = "an empty table" if isinstance(content, Mapping) else f"of type {type(content).__name__}"
        raise UsageError(f"{file} is refused: its content is {kind}, not a dictionary of tensors")
    tables = _tables(content)
    if key is not None:
        chosen = [name for name in tables if name == key] or [n for n in tables if n.startswith(f"{key}.")]
        if len(chosen) != 1:
            raise UsageError(
                f"{file} has no table of weights {key!r}" if not chosen else f"{file}: {key!r} holds several tables",
                facts={"tables of weights": ", ".join(tables) or "none: all tensors are at the top"},
            )
        return tables[chosen[0]]
    if not tables:
        return content
    averages = [name for name in tables if AVERAGE_WORDS & set(re.split(r"\W|_", name.lower()))]
    plain = [name for name in tables if name.rpartition(".")[2] in PLAIN_KEYS and name not in averages]
    usual = [*plain, *averages] if plain else list(tables)
    if len(usual) > 1:
        reason = "plain weights and averages of them" if plain and averages else "several tables of weights"
        raise UsageError(
            f"{file} holds {reason}",
            facts={name: f"{len(tables[name])} tensors" for name in usual},
            hint=f"choose one: --weights-key {usual[0]}, or --weights-key {usual[-1]}",
        )
    return tables[usual[0]]


def _tables(content: Mapping[Any, Any], depth: int = 2) -> dict[str, Mapping[Any, Any]]:
    """The tables below `content` that are tensors for the most part, by their keys, joined by dots."""
    import torch

    found: dict[str, Mapping[Any, Any]] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Mapping) or not value:
            continue
        if 2 * sum(isinstance(item, torch.Tensor) for item in value.values()) > len(value):
            found[name] = value
        elif depth > 1:
            found |= {f"{name}.{below}": table for below, table in _tables(value, depth - 1).items()}
    return found


def _check_tensors(table: Mapping[Any, Any], file: Path) -> dict[str, Tensor]:
    """The table's tensors; numbers and words beside them (an epoch) are passed over, unless named like a tensor."""
    import torch

    tensors = {}
    for name, value in table.items():
        if isinstance(name, str) and isinstance(value, torch.Tensor):
            tensors[name] = value.detach()
        elif not isinstance(name, str) or "." in name:
            raise UsageError(f"{file} is refused: its entry {name!r} is of type {type(value).__name__}, not a tensor")
    if not tensors:
        raise UsageError(
            f"{file} is refused: it holds no tensors", facts={"entries": ", ".join(map(str, list(table)[:10]))}
        )
    return tensors


def _without_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((p for p in WRAPPER_PREFIXES if all(name.startswith(p) for name in tensors)), ""):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors
