"""Reads the weights in a file that somebody published, whatever they are wrapped in. Nothing in it is executed."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adroit.errors import UsageError
from adroit.models.checkpoints.extras import is_extra
from adroit.models.checkpoints.foreign import archive_fault, is_pickle_or_zip, is_safetensors, refuse_foreign
from adroit.models.checkpoints.stand_ins import PickledArray, safe_globals
from adroit.models.checkpoints.tables import choose_table

if TYPE_CHECKING:
    from torch import Tensor

# What PyTorch's own wrappers put before every name: several devices, and torch.compile.
WRAPPER_PREFIXES = ("module.", "_orig_mod.")


def read_weights(file: Path, key: str | None = None) -> dict[str, Tensor]:
    """Reads the tensors of a `.safetensors` file, or of a PyTorch file of any format, by their names.

    PyTorch's reader runs with weights_only=True and never falls back to the other: no code of the file is run. The
    weights may be the file's whole content or a table in it ("state_dict", "model", ...), beside an optimizer's state
    and other bookkeeping, and tensors or NumPy arrays. Prefixes of PyTorch's own wrappers, `module.` and `_orig_mod.`,
    are taken off where every tensor of the network has them; `fit_weights` takes off others where the network wants
    that. Which of several tables was taken is a AdroitWarning.

    Args:
        file: .pth, .pt, .pth.tar, .bin, .ckpt or .safetensors; the content tells the format, not the name.
        key: the table that holds the weights, as "ema" or "ema.state_dict"; found by itself if None.

    Raises:
        UsageError: a missing, truncated or unreadable file, or one that is no checkpoint; a pickle of anything but
            plain data; no tensors in it; several tables of weights and no `key`; a key that is not there.
    """
    return read_table(file, key)[0]


def read_table(file: Path, key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """Reads what `read_weights` reads, and also tells the key of the table: "" where it is the whole file."""
    if not file.is_file():
        raise UsageError(f"there is no such checkpoint: {file}")
    refuse_foreign(file)
    if _is_safetensors(file):
        from safetensors.torch import load_file

        try:
            content: Any = load_file(file)
        except Exception as error:
            raise _unreadable(file, error) from error
    else:
        content = _read_pytorch(file)
    table, taken = choose_table(content, file, key)
    return _without_wrappers(_check_tensors(table, file)), taken


def _is_safetensors(file: Path) -> bool:
    """A file of that name which has been cut short is one too."""
    with open(file, "rb") as opened:
        head = opened.read(9)
    return is_safetensors(head) or (file.suffix == ".safetensors" and not is_pickle_or_zip(head))


def _read_pytorch(file: Path) -> Any:
    import torch

    try:
        # Warnings of pickle protocols; what matters comes as an error.
        with warnings.catch_warnings(), torch.serialization.safe_globals(safe_globals()), open(file, "rb") as opened:
            warnings.simplefilter("ignore")
            # Of a file's name PyTorch would conclude its format.
            return torch.load(opened, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(file, error) from error
    except Exception as error:  # a damaged file makes PyTorch raise almost anything
        raise archive_fault(file) or _unreadable(file, error) from error


def _refusal(file: Path, error: Exception) -> UsageError:
    if "Unsupported operand" in str(error):
        return UsageError(
            f"{file} is refused: it is damaged, or written with a pickle protocol other than PyTorch's own (2)",
            hint="where you trust it, load it and save its `state_dict()` by torch.save as it is by default",
        )
    return UsageError(
        f"{file} is refused: it is not a plain tensor dictionary",
        facts={"reason": _reason(error)},
        hint="loading it would run its code; save `network.state_dict()` where you trust it, and import that",
    )


def _unreadable(file: Path, error: Exception) -> UsageError:
    return UsageError(
        f"cannot read checkpoint {file}",
        facts={"reason": _reason(error)},
        hint="the file is truncated or not a PyTorch checkpoint; compare its size and sha256 with the publisher's",
    )


def _reason(error: Exception) -> str:
    """PyTorch's text down to what it met: it also advises to load unsafely, as an attacker would wish."""
    text = str(error).rpartition("WeightsUnpickler error: ")[2]
    called = re.search(r"GLOBAL (\S+) was not|(?:GLOBAL|global:?|class) `?([A-Za-z_][\w]*(?:\.\w+)+)", text)
    return (
        f"it would call {called[1] or called[2]}"
        if called
        else re.split(r"\n| In PyTorch ", text.strip())[0] or type(error).__name__
    )


def _check_tensors(table: Mapping[Any, Any], file: Path) -> dict[str, Tensor]:
    """The table's tensors; numbers and words beside them (an epoch) are passed over, unless named like a tensor."""
    import torch

    tensors = {}
    for name, value in table.items():
        if isinstance(name, str) and isinstance(value, torch.Tensor):
            tensors[name] = value.detach()
        elif isinstance(name, str) and isinstance(value, PickledArray) and ("." in name or not value.is_number):
            tensors[name] = value.tensor(f"{file}: {name}")
        elif not isinstance(name, str) or "." in name:
            raise UsageError(f"{file} is refused: its entry {name!r} is of type {type(value).__name__}, not a tensor")
    if not tensors:
        raise UsageError(
            f"{file} is refused: it holds no tensors", facts={"entries": ", ".join(map(str, list(table)[:10]))}
        )
    return tensors


def _without_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Takes off the wrappers' prefixes; what is no part of the network (a count of averages) may lack them."""

    def prefix_of_all() -> str:
        own = [name for name, tensor in tensors.items() if not is_extra(name, tensor)]
        return next((p for p in WRAPPER_PREFIXES if own and all(name.startswith(p) for name in own)), "")

    while prefix := prefix_of_all():
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors
