"""Networks of ours: which there are, making, training and importing them. All but the lists need PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adroit.api.arguments import PathLike

if TYPE_CHECKING:
    from torch import nn

    from adroit.models.adoption import Adoption
    from adroit.models.checkpoints.checkpoint import CheckpointConfig
    from adroit.models.training.loop import Epoch, Trained
    from adroit.models.training.options import RunOptions


def list_networks() -> list[str]:
    """Lists the names that `create_network` takes: adroit's own, then those that installed packages add.

    Warns of a package whose entry points cannot be loaded, and of names that two packages have; they are left out.

    >>> "adder-resnet20" in adroit.list_networks()
    True
    """
    from adroit.models.networks.architectures import added_architectures, architectures

    _warn_of(added_architectures().faults)
    return list(architectures())


def list_recipes() -> list[str]:
    """Lists the recipes that `train` knows by name: adroit's own, then those that installed packages add.

    Warns as `list_networks` does.

    >>> "digits-adder-lenet5" in adroit.list_recipes()
    True
    """
    from adroit.models.training.recipe import added_recipes, recipe_names

    added = added_recipes()
    _warn_of(added.faults)
    return [*recipe_names(), *added.values]


def _warn_of(faults: Sequence[str]) -> None:
    for fault in faults:
        warnings.warn(f"left out: {fault}", stacklevel=3)


def list_tasks() -> list[str]:
    """Lists what a network's first output may mean; `tensors` is none of the others.

    >>> adroit.list_tasks()
    ['classification', 'segmentation', 'depth', 'tensors']
    """
    from typing import get_args

    from adroit.models.networks.architectures import Task

    return list(get_args(Task))


def create_network(name: str, **arguments: Any) -> nn.Module:
    """Makes a network with random weights, in training mode. Its forward pass takes float32 [N,C,H,W], preprocessed.

    Args:
        name: one of `list_networks`.
        arguments: of the network where they are not its defaults, as `classes`.

    Raises:
        UsageError: a network or an argument that does not exist.

    >>> network = adroit.create_network("adder-resnet20", classes=100).eval()
    >>> network(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 100])
    """
    from adroit.models.checkpoints.checkpoint import CheckpointConfig
    from adroit.models.networks.architectures import architecture_named, build_network

    network = build_network(name, arguments)
    # What `adroit.export` has to know of it; not part of the state.
    network.checkpoint_config = CheckpointConfig(name, architecture_named(name).preprocessing, arguments)  # type: ignore[assignment]
    return network


def adopt(network: nn.Module, *, in_place: bool = False) -> Adoption:
    """Replaces layers of public code by adroit's, with their weights: adder, adaptive and binomial filter layers.

    Recognized by the names of their classes and by their attributes: `adder2d` of AdderNet,
    `Downsample_PASA_group_softmax` of Adaptive-anti-Aliasing, `BlurPool` of antialiased_cnns, `BlurPool2d` of timm.
    Each pair runs on the same numbers in float64, and a module whose result differs stays as it is.

    Args:
        network: any module.
        in_place: whether `network` is changed; else a copy is.

    Returns:
        The network, what was replaced (`adopted`), and what looks like such a layer and stays, with the reason
        (`left`); its text has one line for each.

    Raises:
        UsageError: Python cannot copy the network, and `in_place` is false.

    >>> class Downsample(torch.nn.Module):  # as antialiased_cnns has it
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.filt_size, self.pad_off, self.stride, self.channels = 3, 0, 2, 4
    ...         self.pad_sizes, self.off = [1, 1, 1, 1], 0
    ...         row = torch.tensor([1.0, 2.0, 1.0]) / 4
    ...         self.register_buffer("filt", torch.outer(row, row).repeat(4, 1, 1, 1))
    ...         self.pad = torch.nn.ReflectionPad2d(1)
    ...
    ...     def forward(self, x):
    ...         return torch.nn.functional.conv2d(self.pad(x), self.filt, stride=2, groups=4)
    >>> adroit.adopt(Downsample()).adopted[0].replacement.partition("(")[0]
    'BinomialFilter'
    """
    from adroit.models.adoption import adopt as replace_layers

    return replace_layers(network, in_place=in_place)


def import_checkpoint(
    architecture: str,
    file: PathLike,
    output: PathLike,
    *,
    arguments: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    weights_key: str | None = None,
) -> CheckpointConfig:
    """Reads a published checkpoint, checks every tensor, and writes it as a checkpoint folder of ours.

    Args:
        architecture: one of `list_networks`.
        file: .pth, .pt or .safetensors, plain or as training scripts wrap it; nothing in it is executed.
        output: the folder to write; replaced as a whole where it holds a checkpoint.
        arguments: of the network where they are not its defaults, as {"classes": 100}.
        labels: names of the classes in the order of the logits; those of the published data set if empty.
        weights_key: the table of the file that holds the weights, where there are several, as "ema".

    Returns:
        What config.json of the checkpoint holds.

    Raises:
        UsageError: a file that cannot be read or an output that cannot be written.
        UnsupportedModel: tensors that are not the network's, or not finite.

    >>> torch.save(adroit.create_network("aa-resnet18", classes=2).state_dict(), "published.pth")
    >>> adroit.import_checkpoint("aa-resnet18", "published.pth", "imported", arguments={"classes": 2}).architecture
    'aa-resnet18'
    """
    from adroit.models.checkpoints.importers import import_checkpoint as read_published

    return read_published(architecture, Path(file), Path(output), dict(arguments or {}), list(labels), weights_key)


def train(
    recipe: PathLike,
    output: PathLike,
    *,
    folder: str = "",
    training: str = "",
    validation: str = "",
    teacher: str = "",
    initial: str = "",
    seed: int | None = None,
    threads: int | None = None,
    options: RunOptions | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained | None:
    """Trains a network as a recipe says, and writes a checkpoint folder.

    Args:
        recipe: a recipe file (TOML), or one of `list_recipes`.
        output: the folder to write.
        folder, training, validation, teacher, initial: top folder of the data, images, images held out, checkpoint
            to learn from, checkpoint to begin with, each instead of the recipe's.
        seed: instead of the recipe's.
        threads: that PyTorch uses; left as it is if None.
        options: devices, resuming, callbacks; see models/training/options.py.
        on_epoch: called after every epoch.

    Returns:
        What the network reaches on the images held out; None in all but the first of several processes.

    Raises:
        UsageError: a recipe with a fault, data that is missing, or an interrupted training of another recipe.
        UnsupportedModel: the loss or a gradient is no longer finite. OutOfResource: the disk is full.

    >>> trained = adroit.train("recipe.toml", "trained", threads=1)
    >>> trained.architecture, 0 <= trained.accuracy <= 1
    ('adder-lenet5-bn', True)
    """
    from adroit.models.training.loop import train as run_training
    from adroit.models.training.options import RunOptions
    from adroit.models.training.recipe import read_recipe

    read, text = read_recipe(str(recipe))
    read = read.with_overrides(folder, training, validation, seed, teacher, initial)
    if threads:
        import torch

        torch.set_num_threads(threads)
    return run_training(read, text, Path(output), on_epoch or (lambda epoch: None), options or RunOptions())
