"""All that an interrupted training needs to go on as if nothing had happened, in one file.

The file is replaced in one step, so that a kill leaves the old or the new one. Batches follow from the seed
and the step (batches.py) and the rate from the step, so they need no state.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adroit import files
from adroit.errors import UsageError
from adroit.models.training.tables import OLD_KEYS
from adroit.validation import rename_keys

FORMAT = 1


@dataclass(frozen=True)
class Position:
    """Where the training stands.

    Attributes:
        step: how many are done. losses: sum over the steps of the epoch that is not finished.
    """

    step: int = 0
    losses: float = 0.0


@dataclass(frozen=True)
class Parts:
    """What changes in training.

    Attributes:
        modules: the network and the methods. optimizers: the recipe's and the methods'.
    """

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]


def state_path(folder: Path) -> Path:
    """The file beside the checkpoint `folder` that is to be."""
    return folder.with_name(f"{folder.name}.resume.safetensors")


def random_state() -> dict[str, Tensor]:
    """The global generators of torch (and its current GPU), NumPy and Python."""
    name, keys, place, has_normal, normal = np.random.get_state()
    assert name == "MT19937"
    version, words, gauss = random.getstate()
    held = [version, np.nan if gauss is None else gauss]
    state = {
        "torch": torch.get_rng_state(),
        "numpy.keys": torch.from_numpy(np.asarray(keys, np.uint32).astype(np.int64)),
        "numpy.rest": torch.tensor([place, has_normal, normal], dtype=torch.float64),
        "python.words": torch.tensor(words, dtype=torch.int64),
        "python.rest": torch.tensor(held, dtype=torch.float64),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Tensor]) -> None:
    """Sets what `random_state` gave."""
    torch.set_rng_state(state["torch"])
    place, has_normal, normal = state["numpy.rest"].tolist()
    keys = state["numpy.keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(place), int(has_normal), normal))
    version, gauss = state["python.rest"].tolist()
    random.setstate((int(version), tuple(state["python.words"].tolist()), None if np.isnan(gauss) else gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def save_state(
    path: Path, about: Mapping[str, Any], position: Position, parts: Parts, randoms: Sequence[Mapping[str, Tensor]]
) -> None:
    """Writes everything, whole or not at all.

    Args:
        about: what a resumed training must agree with (see `read_state`). randoms: `random_state` of each process.

    Raises:
        UsageError, OutOfResource: as files.write_bytes.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    for name, module in parts.modules.items():
        tensors |= {f"module/{name}/{key}": tensor for key, tensor in module.state_dict().items()}
    numbers: dict[str, Any] = {}
    for name, optimizer in parts.optimizers.items():
        state = optimizer.state_dict()
        numbers[name] = [{k: v for k, v in group.items() if k != "params"} for group in state["param_groups"]]
        for index, held in state["state"].items():
            tensors |= {f"optimizer/{name}/{index}/{k}": v for k, v in held.items() if isinstance(v, Tensor)}
    for process, held in enumerate(randoms):
        tensors |= {f"random/{process}/{key}": tensor for key, tensor in held.items()}
    header = {
        "format": FORMAT,
        "about": about,
        "step": position.step,
        "losses": position.losses.hex(),  # JSON has no infinity, and files.json_text makes it null
        "groups": numbers,
    }
    data = save({k: t.detach().cpu().contiguous().clone() for k, t in tensors.items()}, {"state": json.dumps(header)})
    files.write_bytes(path, data)


def read_state(path: Path, about: Mapping[str, Any], parts: Parts, process: int = 0) -> Position:
    """Puts everything back, the random generators too, and returns where the training stands.

    Raises:
        UsageError: no such file, a damaged one, or one of another training: names what differs from `about`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UsageError(f"cannot read the interrupted training {path}", facts={"reason": error}) from error
    _check_same(path, header, about)
    try:
        for name, module in parts.modules.items():
            module.load_state_dict(_below(tensors, f"module/{name}/"))
        for name, optimizer in parts.optimizers.items():
            _put_back(optimizer, header["groups"][name], _below(tensors, f"optimizer/{name}/"))
        set_random_state(_below(tensors, f"random/{process}/"))
        return Position(int(header["step"]), float.fromhex(header["losses"]))
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path} does not fit this training", facts={"reason": error}) from error


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _put_back(
    optimizer: torch.optim.Optimizer, groups: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor]
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = tensor
    places = optimizer.state_dict()["param_groups"]
    whole = [{**saved, "params": own["params"]} for saved, own in zip(groups, places, strict=True)]
    optimizer.load_state_dict({"state": state, "param_groups": whole})


def _check_same(path: Path, header: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    if header.get("format") != FORMAT:
        raise UsageError(f"{path} has format {header.get('format')!r}, this adroit reads {FORMAT}")
    now, then = json.loads(json.dumps(about)), rename_keys(header["about"], OLD_KEYS)
    then["methods"] = rename_keys(then.get("methods", {}), OLD_KEYS)
    different = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
    if different:
        raise UsageError(
            f"{path} is of another training: {', '.join(different)} differ",
            facts={name: f"{then.get(name)!r} there, {now.get(name)!r} here" for name in different},
            hint="resume with the recipe and options it was begun with, or delete it to begin anew",
        )
