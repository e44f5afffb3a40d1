"""From a checkpoint or a network to a deployment, and to one in 8 bits."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import msgspec

from adroit.api.arguments import Images, PathLike, Progress, choice, image_set, read_deployment
from adroit.api.user_networks import NetworkArguments, export_network
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.quantize.choices import Method
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from adroit.deploy.deployment.records import RoutingForm
    from adroit.deploy.export.write import Form
    from adroit.deploy.quantize.quantize import Quantized
    from adroit.deploy.routing.specialize import Specialization


def export(
    source: PathLike | nn.Module,
    path: PathLike,
    *,
    labels: Sequence[str] | None = None,
    portable: bool = False,
    routing: RoutingForm | None = None,
    route: str | None = None,
    images: Images | None = None,
    share: float = 0.5,
    gate_threshold: float | None = None,
    replace: bool = False,
    on_route: Callable[[Specialization], None] | None = None,
    progress: Progress | None = None,
    **network: Unpack[NetworkArguments],
) -> Deployment:
    """Writes a deployment: ONNX with adroit's operators, preprocessing, provenance and the reference for `check`.

    Args:
        source: any `torch.nn.Module`; "FILE.py:CALLABLE" or "package.module:CALLABLE", which give one; or a
            checkpoint folder, as `train` and `import_checkpoint` write it.
        path: REPOSITORY/NAME of the deployment; replaced as a whole where there is one.
        labels: names of the classes in the order of the logits, instead of the checkpoint's.
        portable: standard ONNX operators only.
        routing: of a network with gates: "if" (skips what its gates close), "masked" (computes all) or "static".
        route: bake in one route: "all", "none", "common" (what most `images` use), a topology's name or a JSON file.
        images: with `route`: what "common" is taken from, and what agreement is measured on.
        share: of the images that use each path of the common route, at least; 0 to 1.
        gate_threshold: bakes in the threshold of the gates, which is an input of the model otherwise.
        replace: whether builds, tables and other files of an old deployment at `path` may be deleted.
        on_route: called with the route that is baked in, before the export.
        progress: called with images done and images in all.
        network: of a network of one's own:
            example: a tensor [N,C,H,W] that it takes, whose height and width are those of a typical image; or
                several tensors [N,...] by the names of its inputs, which are then the data of its deployment.
            inputs: instead, names, dimensions and dtypes of inputs that are no image (`adroit.NamedInput`).
            dimensions: usual sizes of their free dimensions by name; 16 where not given.
            size: instead, (height, width) in pixels of a typical image.
            fixed_size: the model takes that size alone; else any size that the network takes.
            task: "classification", "segmentation", "depth" or "tensors" (none of these).
            preprocessing: from an image to the input; RGB divided by 255 if not given.
            weights: a file of weights (.pth, .pt, .safetensors) to load first; nothing in it is executed.
            weights_key: the table of that file that holds the weights, where it has several.
            arguments: of the callable that `source` names.
            adopt: replace layers of public code by adroit's first (see `adroit.adopt`); True if not given.
            on_note: called with each line of what to know: adopted layers, sizes that are fixed, the task.

    Returns:
        The deployment that was written.

    Raises:
        UsageError: a source that cannot be read, a path that cannot be written or holds what `replace` would delete, or
            arguments that do not fit.
        UnsupportedModel: a network that cannot be exported, or weights that do not fit it; the message names the
            module and the line of the network's own code.

    >>> deployment = adroit.export("checkpoint", "repository/exported")
    >>> deployment.info.inputs[0].name
    'image'
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 1))
    >>> deployment = adroit.export(network, "repository/own", example=torch.zeros(1, 3, 64, 64), task="segmentation")
    >>> str(deployment.info.outputs[0])
    'output0 float32 [batch, 2, height - 2, width - 2]'
    """
    target = Path(path)
    form: Form = "portable" if portable else "operators"
    if not _is_checkpoint(source):
        _refuse_routing(routing, route, images, gate_threshold)
        return export_network(source, target, form, labels, network, replace)
    given = sorted(name for name, value in network.items() if name not in ("adopt", "on_note") and _is_given(value))
    if given:
        raise UsageError(f"{', '.join(given)}: a checkpoint of adroit's has these already", hint="leave them out")
    from adroit.deploy.export.deployment import export_deployment
    from adroit.deploy.routing.specialize import routing_choice

    with tempfile.TemporaryDirectory(prefix="adroit-export-") as scratch:
        checkpoint = _checkpoint(source, Path(scratch) / "checkpoint", labels)
        opened = None if images is None else image_set(images)
        chosen = routing_choice(checkpoint, routing, route, opened, share, gate_threshold, progress, on_route)
        return export_deployment(checkpoint, target.parent, target.name, form, chosen, replace)


def _is_checkpoint(source: PathLike | nn.Module) -> bool:
    """Whether `source` is a checkpoint folder, or a network of `create_network`, which knows what it is."""
    from adroit.models.checkpoints.checkpoint import CheckpointConfig
    from adroit.models.networks.source import is_source

    if isinstance(source, (str, os.PathLike)):
        return not is_source(os.fspath(source))
    return isinstance(getattr(source, "checkpoint_config", None), CheckpointConfig)


def _is_given(value: object) -> bool:
    return value is not None and value is not False and not (isinstance(value, Sequence | Mapping) and len(value) == 0)


def _refuse_routing(*given: object) -> None:
    if any(value is not None for value in given):
        raise UsageError(
            "routing, route, images and gate_threshold are for adroit's networks with gates", hint="leave them out"
        )


def _checkpoint(source: PathLike | nn.Module, scratch: Path, labels: Sequence[str] | None) -> Path:
    """Returns the folder of the checkpoint; a network, or a checkpoint with other labels, is written to `scratch`."""
    from adroit.models.checkpoints.checkpoint import load_checkpoint, save_checkpoint

    if isinstance(source, (str, os.PathLike)):
        if labels is None:
            return Path(source)
        network, config = load_checkpoint(Path(source))
    else:
        network, config = source, source.checkpoint_config  # type: ignore[assignment]
    save_checkpoint(
        scratch, network, config if labels is None else msgspec.structs.replace(config, labels=list(labels))
    )
    return scratch


def quantize(
    deployment: PathLike | Deployment,
    path: PathLike,
    images: Images,
    *,
    limit: int | None = None,
    method: str = Method.mse,
    percentile: float = 99.99,
    bias_correction: bool = True,
    keep_float: Sequence[str] = (),
    sensitivity: bool = False,
    operators: str = OperatorForm.native,
    threads: int | None = None,
    replace: bool = False,
    progress: Callable[[str], Progress] | None = None,
) -> Quantized:
    """Writes a deployment in 8 bits: adder layers on integers, ranges from images, no training.

    Args:
        deployment: the float32 deployment, or its path REPOSITORY/NAME.
        path: REPOSITORY/NAME of the new deployment.
        images: what the ranges are taken from. limit: use the first so many only.
        method: range of a tensor: "mse" (smallest mean squared error) or "percentile" of its values.
        percentile: percent of the values that do not saturate, 50 to 100.
        bias_correction: put back by how much rounding moves the mean of each channel.
        keep_float: ONNX names of adder layers to leave in float32.
        sensitivity: also measure what each layer costs when it is the only one in 8 bits.
        operators, threads: how the deployment runs meanwhile.
        replace: whether builds, tables and other files of an old deployment at `path` may be deleted.
        progress: called with the name of each phase; what it returns is called with images done and in all.

    Returns:
        The new deployment, and what it costs on the images: same class (0 to 1), error of the logits.

    Raises:
        UsageError: images or a deployment that cannot be read, a layer that does not exist.
        UnsupportedModel: a network without adder convolutions.

    >>> quantized = adroit.quantize("repository/mine", "repository/mine-8bit", "photos")
    >>> sorted(quantized.deployment.info.operators)
    ['QAdderConv2d', 'QAdderConv2dAdd']
    """
    from adroit.deploy.quantize.quantize import QuantizeOptions, quantize_deployment

    read, target = read_deployment(deployment), Path(path)
    options = QuantizeOptions(
        choice(Method, method, "method"),
        percentile,
        bias_correction,
        tuple(keep_float),
        sensitivity,
        choice(OperatorForm, operators, "operators"),
        threads,
        replace,
    )
    data = os.fspath(images) if isinstance(images, (str, os.PathLike)) else f"{len(images)} images"
    opened = image_set(images, limit, classes_of=read)
    return quantize_deployment(read, opened, data, target.parent, target.name, options, progress)
