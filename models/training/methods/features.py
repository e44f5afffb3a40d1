"""What a network computes before its logits: the input of its last linear layer, and the maps of a named layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from adroit.errors import UnsupportedModel, UsageError
from adroit.models.data.pixels import Pixels
from adroit.models.training.methods.base import Teacher
from adroit.models.training.methods.size_matching import TeacherInput
from adroit.models.training.tasks import Task, device_of


def last_linear(network: nn.Module, architecture: str) -> tuple[str, nn.Linear]:
    """Name and module of the layer that gives the logits; raises UnsupportedModel where it is no nn.Linear."""
    named = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    linears = [(name, module) for name, module in named if isinstance(module, nn.Linear)]
    if not linears or named[-1][0] != linears[-1][0]:
        raise UnsupportedModel(
            f"{architecture} does not end in a linear layer, whose input would be its features",
            hint="take a network that does: wide-resnet, aa-cifar-resnet20, aa-resnet50",
        )
    return linears[-1]


class Observed:
    """Keeps what a layer last got (`input`) and returned (`output`); a context manager, gone from the network after it.

    Raises:
        UsageError: no layer of that name.
    """

    def __init__(self, network: nn.Module, layer: str) -> None:
        modules = dict(network.named_modules())
        if layer not in modules:
            children = ", ".join(name for name in modules if name and name.count(".") == 0)
            raise UsageError(f"the network has no layer named {layer!r}", facts={"layers": children})
        self._module = modules[layer]
        self.input: Tensor
        self.output: Tensor

    def __enter__(self) -> Observed:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.input, self.output = inputs[0], output

        self._handle = self._module.register_forward_hook(keep)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()


def required_teacher(teacher: Teacher | None, method: str, what: str) -> Teacher:
    """Raises UsageError, telling `what` it is, where there is none."""
    if teacher is None:
        raise UsageError(
            f"{method} needs a teacher: {what}", hint="give --teacher CHECKPOINT, or teacher in the recipe"
        )
    return teacher


def teacher_size(task: Task, teacher: Teacher) -> tuple[int, int]:
    """Height and width of the teacher's input; the task's own where it takes any."""
    return teacher.config.preprocessing.size or task.input_size


def teacher_batches(batches: Iterable[Tensor], task: Task, teacher: Teacher) -> Iterator[Tensor]:
    """Inputs [n,C,H,W] of the task's preprocessing as the teacher's, resized to its size, on its device."""
    student, own = Pixels(task.preprocessing), Pixels(teacher.config.preprocessing)
    to_teacher = TeacherInput(student, own, teacher_size(task, teacher), "resize")
    return (to_teacher(x.to(device_of(teacher.network))) for x in batches)


def features_of(network: nn.Module, batches: Iterable[Tensor], architecture: str) -> Tensor:
    """[N,D] float32: the inputs of the last linear layer, in evaluation mode, in which the network is left."""
    name, _ = last_linear(network, architecture)
    network.eval()
    with Observed(network, name) as seen, torch.inference_mode():
        parts = []
        for x in batches:
            network(x)
            parts.append(seen.input.flatten(1).float().cpu())
    return torch.cat(parts)


def maps_of(network: nn.Module, batches: Iterable[Tensor], layer: str) -> Iterator[Tensor]:
    """[n,C,h,w] float32 of every batch: what `layer` makes, in evaluation mode, in which the network is left.

    Raises:
        UsageError: no such layer, or one that makes no maps.
    """
    network.eval()
    with Observed(network, layer) as seen:
        for x in batches:
            with torch.inference_mode():
                network(x)
            if not isinstance(seen.output, Tensor) or seen.output.ndim != 4:
                raise UsageError(f"layer {layer!r} makes no feature maps")
            yield seen.output.float().cpu()
