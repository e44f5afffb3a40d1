"""Reading the checkpoints that the papers' authors published."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adroit import files
from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import CheckpointConfig, fit_weights, save_checkpoint
from adroit.models.data.segmentation import CITYSCAPES_CLASSES
from adroit.models.networks.architectures import architecture_named, build_network

if TYPE_CHECKING:
    import torch
    from torch import nn

CIFAR10_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Fields under which training scripts put the weights beside optimizer and schedule.
_WRAPPERS = ("state_dict", "model", "model_state")


@dataclass(frozen=True)
class OfficialLayout:
    """How a published checkpoint of an architecture is laid out.

    Attributes:
        key: our tensor name to the published one, given the network.
        labels: class names where the published weights have a fixed meaning.
    """

    key: Callable[[nn.Module, str], str]
    labels: Sequence[str] = ()


def _adder_key(network: nn.Module, name: str) -> str:
    from adroit.models.layers.adder import AdderConv2d

    module, _, tensor = name.rpartition(".")
    return f"{module}.adder" if isinstance(network.get_submodule(module), AdderConv2d) and tensor == "weight" else name


def _same_key(network: nn.Module, name: str) -> str:
    return name


LAYOUTS: Mapping[str, OfficialLayout] = {
    "adder-resnet20": OfficialLayout(_adder_key, CIFAR10_LABELS),
    "adder-resnet32": OfficialLayout(_adder_key),
    "adder-resnet18": OfficialLayout(_adder_key),
    "adder-resnet50": OfficialLayout(_adder_key),
    "dynamic-a": OfficialLayout(_same_key, CITYSCAPES_CLASSES),
    "dynamic-b": OfficialLayout(_same_key, CITYSCAPES_CLASSES),
    "dynamic-c": OfficialLayout(_same_key, CITYSCAPES_CLASSES),
    "dynamic-raw-16": OfficialLayout(_same_key, CITYSCAPES_CLASSES),
    "dynamic-raw-33": OfficialLayout(_same_key, CITYSCAPES_CLASSES),
    "dynamic-small": OfficialLayout(_same_key),
    "aa-resnet18": OfficialLayout(_same_key),
    "aa-resnet34": OfficialLayout(_same_key),
    "aa-resnet50": OfficialLayout(_same_key),
    "aa-resnet101": OfficialLayout(_same_key),
    "aa-deeplabv3plus-resnet101": OfficialLayout(_same_key),
}


def read_published_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensor dictionary in a `.safetensors` or PyTorch file, without `module.` prefixes.

    Nothing in the file is executed: PyTorch's reader runs with weights_only=True and never falls
    back to the other.

    Raises:
        UsageError: missing, truncated or unreadable file; a pickle that is not a plain tensor dictionary.
    """
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise UsageError(f"there is no such checkpoint: {path}")
    try:
        if path.suffix == ".safetensors":
            return _plain_tensors(load_file(path), path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what matters comes as an error
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path} is refused: it is not a plain tensor dictionary",
            facts={"reason": _reason(error)},
            hint="loading it would run its code; save `network.state_dict()` where you trust it, and import that",
        ) from error
    except Exception as error:  # a damaged file makes PyTorch raise almost anything
        raise UsageError(
            f"cannot read checkpoint {path}",
            facts={"reason": _reason(error)},
            hint="the file is truncated or not a PyTorch checkpoint; compare its size and sha256 with the publisher's",
        ) from error
    return _plain_tensors(content, path)


def _reason(error: Exception) -> str:
    """PyTorch's text down to what it met: it also advises to load unsafely, as an attacker would wish."""
    text = str(error)
    called = re.search(r"(?:GLOBAL|global:?|class) `?([A-Za-z_][\w]*(?:\.\w+)+)", text)
    return f"it would call {called[1]}" if called else text.strip().split("\n")[0] or type(error).__name__


def _plain_tensors(content: Any, path: Path) -> dict[str, torch.Tensor]:
    import torch

    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), Mapping) and content[wrapper]:
                content = content[wrapper]
                break
    if not isinstance(content, Mapping) or not content:
        raise UsageError(
            f"{path} is refused: its content is of type {type(content).__name__}, not a dictionary of tensors"
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UsageError(f"{path} is refused: its entry {name!r} is of type {type(value).__name__}, not a tensor")
    tensors = {name.removeprefix("module."): value for name, value in content.items()}
    if len(tensors) != len(content):
        raise UsageError(f"{path} is refused: it holds some tensors twice, with and without the prefix module.")
    return tensors


def import_checkpoint(
    architecture: str, path: Path, folder: Path, arguments: Mapping[str, Any] | None = None, labels: Sequence[str] = ()
) -> CheckpointConfig:
    """Turns a published checkpoint into one of ours at `folder`.

    Args:
        architecture: a name in LAYOUTS.
        path: the published file.
        folder: where the checkpoint is written, whole or not at all.
        arguments: the network's arguments where they are not the defaults.
        labels: class names; those of the published network if none are given.

    Raises:
        UsageError: unknown architecture, unreadable or refused file, unwritable folder.
        UnsupportedModel: tensors that are not the architecture's, or not finite.
    """
    known = architecture_named(architecture)
    if architecture not in LAYOUTS:
        raise UsageError(f"no published checkpoints are known for {architecture}", facts={"known": ", ".join(LAYOUTS)})
    layout = LAYOUTS[architecture]
    arguments = dict(arguments or {})
    network = build_network(architecture, arguments)
    published = read_published_tensors(path)
    names = {name: layout.key(network, name) for name in network.state_dict()}
    fit_weights(network, published, str(path), architecture, names)
    classes = arguments.get("classes", known.defaults.get("classes"))
    class_names = list(labels or (layout.labels if len(layout.labels) == classes else ()))
    if class_names and len(class_names) != classes:
        raise UsageError(f"{len(class_names)} labels were given for {classes} classes")
    source = {"file": path.name, "sha256": files.sha256(path)}
    config = CheckpointConfig(architecture, known.preprocessing, arguments, class_names, source)
    save_checkpoint(folder, network, config)
    return config
