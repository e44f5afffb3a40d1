"""Reading the checkpoints that the papers' authors published."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adroit import files
from adroit.errors import UsageError
from adroit.extensions import Additions, load_additions
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.checkpoints.fitting import fit_weights
from adroit.models.checkpoints.weights import read_table
from adroit.models.data.segmentation import CITYSCAPES_CLASSES
from adroit.models.networks.architectures import architecture_named, build_network

if TYPE_CHECKING:
    from torch import nn

CIFAR10_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class OfficialLayout:
    """How a published checkpoint of an architecture is laid out.

    An installed package adds its own by entry points of the group `adroit.importers`: each gives a mapping from
    an architecture's name to its layout, or is a callable without arguments that gives one.

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
    "aa-resnet152": OfficialLayout(_same_key),
    "aa-deeplabv3plus-resnet50": OfficialLayout(_same_key),
    "aa-deeplabv3plus-resnet101": OfficialLayout(_same_key),
}


@functools.cache
def added_layouts() -> Additions[OfficialLayout]:
    """Loads what installed packages add."""
    return load_additions("adroit.importers", "importer of", _read_added, LAYOUTS)


def _read_added(value: Any) -> dict[str, OfficialLayout]:
    layouts = dict(value() if callable(value) else value)
    for layout in layouts.values():
        if not isinstance(layout, OfficialLayout):
            raise TypeError(f"it gives {type(layout).__name__}, not adroit.models.checkpoints.importers.OfficialLayout")
    return layouts


def layout_of(architecture: str) -> OfficialLayout:
    """The published layout of an architecture; our own names where none is known.

    Raises:
        UsageError: two packages bring one.
    """
    if architecture in LAYOUTS:
        return LAYOUTS[architecture]
    added = added_layouts()
    if architecture in added.refused:
        raise added.unknown("importer of", architecture, (), None)
    return added.values.get(architecture, OfficialLayout(_same_key))


def import_checkpoint(
    architecture: str,
    path: Path,
    folder: Path,
    arguments: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    weights_key: str | None = None,
) -> CheckpointConfig:
    """Turns a published checkpoint into one of ours at `folder`.

    Args:
        architecture: its name; see `layout_of`.
        path: the published file.
        folder: where the checkpoint is written, whole or not at all.
        arguments: the network's arguments where they are not the defaults.
        labels: class names; those of the published network if none are given.
        weights_key: the table in the file that holds the weights; see `read_weights`. The one that was
            taken is the `key` of the checkpoint's source.

    Raises:
        UsageError: unknown architecture, unreadable or refused file, unwritable folder.
        UnsupportedModel: tensors that are not the architecture's, or not finite.
    """
    known = architecture_named(architecture)
    layout = layout_of(architecture)
    arguments = dict(arguments or {})
    network = build_network(architecture, arguments)
    published, key = read_table(path, weights_key)
    names = {name: layout.key(network, name) for name in network.state_dict()}
    fit_weights(network, published, str(path), architecture, names)
    classes = arguments.get("classes", known.defaults.get("classes"))
    class_names = list(labels or (layout.labels if len(layout.labels) == classes else ()))
    if class_names and len(class_names) != classes:
        raise UsageError(f"{len(class_names)} labels were given for {classes} classes")
    source = {"file": path.name, "sha256": files.sha256(path), **({"key": key} if key else {})}
    config = CheckpointConfig(architecture, known.preprocessing, arguments, class_names, source)
    save_checkpoint(folder, network, config)
    return config
