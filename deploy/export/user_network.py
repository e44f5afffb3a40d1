"""Exports a network of a user's own as a deployment, with its stored program as the reference."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
from msgspec.structs import replace

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.replacing import check_place
from adroit.deploy.export.graph import finish, fuse
from adroit.deploy.export.inputs import NamedInput, free_dimensions, image_input, named_inputs
from adroit.deploy.export.trace import trace_program
from adroit.deploy.export.write import Exported, Form, spec_of, write_deployment
from adroit.deploy.reference.capture import capture_exported
from adroit.deploy.reference.store import PROGRAM, WEIGHTS, write_reference
from adroit.errors import UnsupportedModel, UsageError
from adroit.models.adoption import adopt, find_l1_distances
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.networks.architectures import Task

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from adroit.deploy.reference.capture import CapturedInput
    from adroit.deploy.reference.interpret import StoredProgram

_TASK_HINTS = {
    "classification": "classification needs logits [N,classes] as the first output",
    "segmentation": "segmentation needs logits [N,classes,H,W] as the first output",
    "depth": "depth needs a map [N,H,W] or [N,1,H,W] as the first output",
}


@dataclass(frozen=True)
class UserNetwork:
    """A network of a user's own, and how it is deployed.

    Attributes:
        network: as the user made it; it is not changed.
        source: where it is from, as "net.py:Classifier"; shown by `adroit inspect`.
        size: (height, width) in pixels of a typical image; None with `inputs`.
        fixed_size: whether the model shall take that size alone.
        inputs: where the network takes no single image.
        dimensions: usual sizes of their free dimensions by name, where they are not USUAL_SIZE.
        task: None for classification where the only output is [N,classes], else tensors.
        preprocessing: from an image to the input.
        labels: names of the classes in the order of the logits.
        adopts: whether layers of public code become adroit's first.
        provenance: further facts for the description, as the file of the weights.
    """

    network: nn.Module
    source: str
    size: tuple[int, int] | None = None
    fixed_size: bool = False
    inputs: Sequence[NamedInput] = ()
    dimensions: Mapping[str, int] = field(default_factory=dict)
    task: Task | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    labels: Sequence[str] = ()
    adopts: bool = True
    provenance: Mapping[str, Any] = field(default_factory=dict)


def export_user_network(
    given: UserNetwork,
    repository: Path,
    name: str,
    form: Form,
    on_note: Callable[[str], None],
    replace_old: bool = False,
) -> Deployment:
    """Exports to `repository`/`name`, whole or not at all.

    Args:
        form: as export_deployment. replace_old: whether all that an old deployment there holds may be deleted.
        on_note: called with each line of what the user should know: adopted layers, sizes that are fixed, the task.

    Raises:
        UsageError: options that do not fit each other or the network, or an unwritable repository.
        UnsupportedModel: a network that cannot be captured; names the module and the line of the user's code.
    """
    check_place(repository, name, replace_old)
    _check_options(given)
    dimensions = free_dimensions(given.inputs, given.dimensions)
    network, adopted = _adopted(given, on_note)
    if given.inputs:
        inputs = named_inputs(given.inputs, dimensions)
        exported, program = capture_exported(network, inputs)
    else:
        inputs, exported, program = _captured_with_image(given, network, on_note)
    for distance in find_l1_distances(exported):
        on_note(f"{distance}: adroit's kernel would compute it without the large temporary; use adroit.nn.AdderConv2d")
    names = [captured.name for captured in inputs]
    model = trace_program(exported, names, program.program.outputs, [captured.free for captured in inputs])
    _free_outputs(model.graph, program, inputs)
    fuse(model.graph)
    proto = finish(model)
    task = _task(given, proto)
    steps = None if given.inputs else _preprocessing(given, inputs, task)
    on_note(f"task: {task}" + ("" if steps is None else f"; images: {_described(steps)}"))
    exported_network = Exported(
        model=proto,
        architecture=given.source,
        task=task,
        input_size=None if given.inputs else given.size,
        usual_sizes=dimensions,
        preprocessing=steps,
        labels=tuple(given.labels),
        source={"network": given.source, **given.provenance, **({"adopted": adopted} if adopted else {})},
        save_reference=lambda folder: _save(folder, program),
    )
    return write_deployment(exported_network, repository, name, form, replace_old)


def _free_outputs(graph: ir.Graph, program: StoredProgram, inputs: Sequence[CapturedInput]) -> None:
    """Frees the dimensions of outputs that follow the inputs' sizes, where the exporter noted the example's."""
    examples = [spec.example for spec in program.program.inputs]
    usual = program.output_shapes(examples)
    for factor in (2, 0.5):
        with contextlib.suppress(UsageError, UnsupportedModel):
            shapes = [
                [max(1, round(size * factor)) if axis in given.free else size for axis, size in enumerate(example)]
                for given, example in zip(inputs, examples, strict=True)
            ]
            others = program.output_shapes(shapes)
            break
    else:
        return
    for value, one, other in zip(graph.outputs, usual, others, strict=True):
        assert value.shape is not None
        dims = [
            f"{value.name}_{axis}" if isinstance(size, int) and one[axis] != other[axis] else size
            for axis, size in enumerate(value.shape)
        ]
        value.shape = ir.Shape(dims)


def _save(folder: Path, program: StoredProgram) -> tuple[Path, Path | None]:
    write_reference(folder, program)
    return folder / WEIGHTS, folder / PROGRAM


def _check_options(given: UserNetwork) -> None:
    if given.inputs and (given.size or given.fixed_size or given.labels or given.task not in (None, "tensors")):
        raise UsageError(
            "a network with named inputs takes no image, so it has no size, labels or task",
            hint="leave --size, --fixed-size, --labels and --task out, or --input",
        )
    if not given.inputs and given.size is None:
        raise UsageError(
            "the size of a typical image is not known",
            hint="give --size HEIGHTxWIDTH (or --crop), or --input for a network that takes no image",
        )


def _adopted(given: UserNetwork, on_note: Callable[[str], None]) -> tuple[nn.Module, list[str]]:
    if not given.adopts:
        return given.network, []
    adoption = adopt(given.network)
    for line in (*adoption.adopted, *adoption.left):
        on_note(f"adopted {line}" if line in adoption.adopted else str(line))
    return adoption.network, [str(each) for each in adoption.adopted]


def _captured_with_image(
    given: UserNetwork, network: nn.Module, on_note: Callable[[str], None]
) -> tuple[list[CapturedInput], ExportedProgram, StoredProgram]:
    """The captured network; of a network that takes one size alone, that size is fixed, and said."""
    assert given.size is not None
    channels = len(given.preprocessing.mean)
    inputs = image_input(channels, given.size, given.fixed_size)
    try:
        return inputs, *capture_exported(network, inputs)
    except UnsupportedModel as error:
        if given.fixed_size:
            raise
        fault = error
    fixed = image_input(channels, given.size, fixed=True)
    try:
        captured = capture_exported(network, fixed)
    except UnsupportedModel:
        raise fault from None
    place = ", ".join(f"{key} {fault.facts[key]}" for key in ("module", "source", "line") if key in fault.facts)
    size = f"{given.size[0]} x {given.size[1]}"
    on_note(f"the size is fixed at {size}: {fault.message}" + (f" ({place})" if place else ""))
    return fixed, *captured


def _is_fixed(inputs: Sequence[CapturedInput]) -> bool:
    return 2 not in inputs[0].free


def _preprocessing(given: UserNetwork, inputs: Sequence[CapturedInput], task: Task) -> Preprocessing:
    """Images are resized where nothing else was requested and a network takes one size, or tells an image's class.

    A classifier that takes all sizes is right at those it was trained with: a photograph as it is gives any class.
    """
    steps = given.preprocessing
    resizes = steps.resize is None and (_is_fixed(inputs) or task == "classification")
    if steps.size is None and resizes:
        return replace(steps, resize=given.size)
    if _is_fixed(inputs) and steps.size != given.size:
        raise UsageError(
            f"the network takes {given.size}, and its preprocessing gives {steps.size} (height, width)",
            hint="give a --crop or a --resize HEIGHTxWIDTH of the network's size",
        )
    return steps


def _described(steps: Preprocessing) -> str:
    parts: list[str] = [steps.channels]
    parts += [f"resized to {steps.resize}"] if steps.resize not in (None, "keep") else []
    parts += [f"cropped to {steps.crop}"] if steps.crop else []
    parts += [f"divided by {steps.divisor:g}, mean {list(steps.mean)}, std {list(steps.std)}"]
    return ", ".join(parts)


def _task(given: UserNetwork, model: onnx.ModelProto) -> Task:
    """The task, where the first output has its shape."""
    outputs = [spec_of(value) for value in model.graph.output]
    shape = outputs[0].shape
    fits = {
        "classification": len(shape) == 2,
        "segmentation": len(shape) == 4,
        "depth": len(shape) == 3 or (len(shape) == 4 and shape[1] == 1),
        "tensors": True,
    }
    if given.inputs:
        return "tensors"
    task = given.task or ("classification" if len(outputs) == 1 and len(shape) == 2 else "tensors")
    if not fits[task]:
        raise UsageError(f"the first output is {outputs[0]}", hint=_TASK_HINTS[task])
    if given.labels and task not in ("classification", "segmentation"):
        raise UsageError(f"the task {task} has no labels", hint="give --task classification or segmentation")
    return task
