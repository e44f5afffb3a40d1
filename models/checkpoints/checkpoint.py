"""adroit's own checkpoints: a folder of `model.safetensors` and `config.json`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from adroit import files
from adroit.errors import UsageError
from adroit.models.checkpoints.fitting import fit_weights
from adroit.models.data.preprocessing import OLD_KEYS, Preprocessing
from adroit.models.networks.architectures import architecture_named, build_network, is_unregistered_factory
from adroit.validation import convert_values, rename_keys

if TYPE_CHECKING:
    from torch import nn

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


class CheckpointConfig(Struct, frozen=True):
    """What config.json holds.

    Attributes:
        architecture: a name of `adroit list networks`, or the factory that the recipe named.
        preprocessing: how images become the input.
        arguments: the builder's arguments where they are not the defaults.
        labels: class names in the order of the logits; may be empty.
        source: where the weights come from (file, sha256 and key of the table in it; or recipe and seed).
    """

    architecture: str
    preprocessing: Preprocessing
    arguments: Mapping[str, Any] = {}
    labels: Sequence[str] = ()
    source: Mapping[str, Any] = {}

    def to_json(self) -> dict[str, Any]:
        """Returns the content of config.json."""
        names = ("architecture", "arguments", "preprocessing", "labels", "source")
        return {"format": FORMAT, **{name: msgspec.to_builtins(getattr(self, name)) for name in names}}

    @classmethod
    def read(cls, folder: Path) -> CheckpointConfig:
        """Reads config.json of a checkpoint, also one of version 0.1.

        Raises:
            UsageError: config.json is missing, of another format, or has a wrong value; or it names a factory, which
                is imported only where the user's own recipe names it too.
        """
        path = folder / CONFIG
        values = files.read_json(path, "the checkpoint's config")
        if values.get("format") != FORMAT:
            raise UsageError(f"{path} has format {values.get('format')!r}, this adroit reads {FORMAT}")
        values = rename_keys(values, {f"preprocessing.{old}": new for old, new in OLD_KEYS.items()})
        config = convert_values(values, cls, source=str(path), noun="a checkpoint's config")
        if is_unregistered_factory(config.architecture):
            raise _factory_error(folder, config)
        architecture_named(config.architecture)
        return config


def _factory_error(folder: Path, config: CheckpointConfig) -> UsageError:
    """A folder that came from elsewhere could name any code."""
    command = ["adroit", "export", config.architecture, "--weights", str(folder / WEIGHTS)]
    command += [word for name, value in config.arguments.items() for word in ("--argument", f"{name}={value}")]
    return UsageError(
        f"{folder}: the network is made by {config.architecture}, which no checkpoint can have run",
        hint=f"where you trust that code: {shlex.join(command)}",
    )


def check_checkpoint_folder(folder: Path) -> None:
    """Raises UsageError where a checkpoint cannot be written to `folder`: checked before long work."""
    if folder.exists() and not (folder / CONFIG).exists() and (folder.is_file() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not a checkpoint", hint="give a new folder")


def save_checkpoint(folder: Path, network: nn.Module, config: CheckpointConfig) -> None:
    """Writes both files, whole or not at all; replaces an earlier checkpoint at `folder`.

    Raises:
        UsageError: `folder` cannot be written, or is a folder that holds no checkpoint.
        OutOfResource: the disk is full.
    """
    from safetensors.torch import save

    check_checkpoint_folder(folder)
    with files.atomic_folder(folder) as temporary:
        # Not safetensors' own writing: its error for a full disk is that for a wrong tensor.
        files.write_bytes(temporary / WEIGHTS, save({n: t.contiguous() for n, t in network.state_dict().items()}))
        files.write_json(temporary / CONFIG, config.to_json())


def load_checkpoint(folder: Path) -> tuple[nn.Module, CheckpointConfig]:
    """The network in evaluation mode, with its weights, and the config.

    Raises:
        UsageError: a missing or damaged file.
        UnsupportedModel: weights that are not the architecture's, or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = CheckpointConfig.read(folder)
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"cannot read weights {path}", facts={"reason": error}) from error
    network = build_network(config.architecture, config.arguments)
    fit_weights(network, tensors, str(path), config.architecture)
    return network.eval(), config
