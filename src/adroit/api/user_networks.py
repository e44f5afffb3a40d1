"""Networks of users' own, on their way to `adroit.export`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from adroit.api.arguments import PathLike
from adroit.deploy.deployment.deployment import Deployment
from adroit.errors import UsageError
from adroit.files import sha256

if TYPE_CHECKING:
    import torch
    from torch import nn

    from adroit.deploy.export.inputs import NamedInput
    from adroit.deploy.export.write import Form
    from adroit.models.data.preprocessing import Preprocessing
    from adroit.models.networks.architectures import Task


class NetworkArguments(TypedDict, total=False):
    """How a network of a user's own is deployed; see `export`."""

    example: torch.Tensor | Mapping[str, torch.Tensor] | None
    inputs: Sequence[NamedInput]
    dimensions: Mapping[str, int]
    size: tuple[int, int] | None
    fixed_size: bool
    task: Task | None
    preprocessing: Preprocessing | None
    weights: PathLike | None
    weights_key: str | None
    arguments: Mapping[str, Any] | None
    adopt: bool
    on_note: Callable[[str], None] | None


def export_network(
    source: PathLike | nn.Module,
    target: Path,
    form: Form,
    labels: Sequence[str] | None,
    given: NetworkArguments,
    replace: bool,
) -> Deployment:
    """Exports a network of a user's own."""
    from adroit.deploy.export.user_network import UserNetwork, export_user_network

    arguments, weights = dict(given.get("arguments") or {}), given.get("weights")
    network = load_network(source, weights, arguments, given.get("weights_key"))
    provenance: dict[str, Any] = {"arguments": arguments} if arguments else {}
    if weights is not None:
        provenance["weights from"] = {"file": Path(weights).name, "sha256": sha256(Path(weights))}
    inputs, size = _inputs(given)
    preprocessing = _preprocessing(given)
    user_network = UserNetwork(
        network=network,
        source=_title(source),
        size=size or preprocessing.size,
        fixed_size=given.get("fixed_size", False),
        inputs=inputs,
        dimensions=given.get("dimensions", {}),
        task=given.get("task"),
        preprocessing=preprocessing,
        labels=labels or (),
        adopts=given.get("adopt", True),
        provenance=provenance,
    )
    return export_user_network(
        user_network, target.parent, target.name, form, given.get("on_note") or (lambda line: None), replace
    )


def load_network(
    source: PathLike | nn.Module,
    weights: PathLike | None,
    arguments: Mapping[str, Any] | None,
    weights_key: str | None = None,
) -> nn.Module:
    """A network, or what "FILE.py:CALLABLE" gives with `arguments`, with the weights of a file where one is given.

    Raises:
        UsageError: a source or file that cannot be read. UnsupportedModel: weights that do not fit.
    """
    from adroit.models.checkpoints.fitting import fit_weights
    from adroit.models.checkpoints.weights import read_weights
    from adroit.models.networks.source import network_from_source

    if isinstance(source, (str, os.PathLike)):
        network = network_from_source(os.fspath(source), arguments)
    elif arguments:
        raise UsageError("a network that is made already takes no arguments", hint="leave arguments out")
    else:
        network = source
    if weights is not None:
        fit_weights(network, read_weights(Path(weights), weights_key), str(weights), _title(source))
    return network


def _title(source: PathLike | nn.Module) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return f"{type(source).__module__}.{type(source).__qualname__}"


def _inputs(given: NetworkArguments) -> tuple[list[NamedInput], tuple[int, int] | None]:
    """The inputs that are no image, and the size of the image."""
    from adroit.deploy.export.inputs import checked_input, inputs_of_examples

    example, inputs, size = given.get("example"), given.get("inputs", ()), given.get("size")
    if sum((example is not None, bool(inputs), size is not None)) > 1:
        raise UsageError("example, inputs and size say the same", hint="give one of them")
    if example is None:
        return [checked_input(each) for each in inputs], size
    if isinstance(example, Mapping):
        return inputs_of_examples(example), None
    if example.dim() != 4 or not example.is_floating_point():
        raise UsageError(
            f"the example is {example.dtype} {list(example.shape)}, and an image is a float [N,C,H,W]",
            hint="give examples by name where the inputs are no image: example={'x': ...}",
        )
    return [], (example.shape[2], example.shape[3])


def _preprocessing(given: NetworkArguments) -> Preprocessing:
    """The steps that were given, or RGB (gray for one channel) divided by 255."""
    from adroit.models.data.preprocessing import Preprocessing

    example, steps = given.get("example"), given.get("preprocessing")
    channels = 3 if example is None or isinstance(example, Mapping) else example.shape[1]
    if steps is None:
        steps = Preprocessing(channels="gray", mean=(0.0,), std=(1.0,)) if channels == 1 else Preprocessing()
        channels_known = channels in (1, 3)
    else:
        channels_known = example is None or isinstance(example, Mapping) or channels == len(steps.mean)
    if not channels_known:
        raise UsageError(
            f"the example has {channels} channels, and images give {len(steps.mean)}",
            hint="give the preprocessing that fits, or the example by name where it is no image: example={'x': ...}",
        )
    return steps
