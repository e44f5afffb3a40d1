"""One inference, whatever protocol it came by: checked against the model, queued, answered."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import THRESHOLD
from adroit.deploy.serve.classes import PARAMETER as COST_CLASS
from adroit.deploy.serve.classes import CostClass, CostClasses
from adroit.deploy.serve.engine.budget import PARAMETERS, asked_budget
from adroit.deploy.serve.engine.load import WANTED
from adroit.deploy.serve.engine.served_model import ServedModel
from adroit.deploy.serve.job import Job
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.messages import Parameter
from adroit.deploy.serve.protocol.refusal import invalid
from adroit.deploy.serve.protocol.tensors import GivenTensor, array_of
from adroit.errors import UsageError
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.routing.cost import check_size

# What a request may say beside its tensors; `timeout` is in microseconds.
KNOWN_PARAMETERS = PARAMETERS | {COST_CLASS, "timeout", "binary_data_output"}


@dataclass(frozen=True)
class Inference:
    """What a client asks for.

    Attributes:
        outputs: names of the outputs to give; all if empty.
        seconds: that the client will wait, where its protocol tells.
        authorization: the header, or the call's metadata, of that name.
    """

    inputs: Sequence[GivenTensor]
    outputs: Sequence[str]
    parameters: Mapping[str, Parameter]
    seconds: float | None = None
    authorization: str = ""


@dataclass(frozen=True)
class Answer:
    """Outputs in the order asked for, and what the response says beside them.

    Attributes:
        waited, ran: seconds in the queue, and of the execution.
    """

    outputs: Mapping[str, NDArray[Any]]
    parameters: Mapping[str, Parameter]
    waited: float
    ran: float


class Preparer:
    """Decodes and resizes images beside the event loop."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "prepare")

    async def run(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


async def infer(
    model: ServedModel, inference: Inference, preparer: Preparer, limits: Limits, classes: CostClasses
) -> Answer:
    """Raises Refusal; a cancelled call takes its request out of the queue."""
    names = _outputs(model, inference.outputs)
    cost_class = classes.of(inference.parameters.get(COST_CLASS), inference.authorization)
    images, thresholds, size = checked_inputs(model, inference, limits, cost_class)
    preprocessing = model.deployment.info.preprocessing
    if images.dtype == np.uint8 and (preprocessing.resize is not None or preprocessing.crop is not None):
        images = await preparer.run(resized, preprocessing, images)
    now, seconds = asyncio.get_running_loop().time(), _seconds(inference, limits)
    budget = asked_budget(inference.parameters, cost_class)
    job = Job(images, thresholds, now + seconds, now + WANTED * seconds, budget=budget)
    if model.queue.governor and thresholds is not None:
        job.seconds = model.queue.governor.seconds(thresholds, size)
    outputs, told = await model.run(job)
    return Answer({name: outputs[name] for name in names}, told, job.waited, job.ran)


def _outputs(model: ServedModel, names: Sequence[str]) -> Sequence[str]:
    known = model.output_names
    for name in names:
        if name not in known:
            raise invalid(f"{model.name} has no output {name[:80]!r}; it has {', '.join(known)}")
    if len(set(names)) != len(names):
        raise invalid("an output is asked for twice")
    return names or known


def _seconds(inference: Inference, limits: Limits) -> float:
    """That the request has."""
    unknown = inference.parameters.keys() - KNOWN_PARAMETERS
    if unknown:
        raise invalid(f"unknown parameter {min(unknown)[:80]!r}; known: {', '.join(sorted(KNOWN_PARAMETERS))}")
    timeout = inference.parameters.get("timeout", 0)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 0:
        raise invalid("parameter timeout must be a whole number of microseconds")
    wait = min(limits.queue_seconds, timeout / 1e6) if timeout else limits.queue_seconds
    return wait if inference.seconds is None else min(wait, inference.seconds)


def checked_inputs(
    model: ServedModel, inference: Inference, limits: Limits, cost_class: CostClass
) -> tuple[NDArray[Any], NDArray[np.float32] | None, tuple[int, int]]:
    """The images, uint8 [N,H,W,3] or float32 [N,C,H,W], one threshold a sample where there are gates, the input's size.

    Raises:
        Refusal: unknown, missing or double inputs; a datatype, shape or size that the model does not take.
    """
    specs, image_name = model.input_names, model.input_names[0]
    given: dict[str, GivenTensor] = {}
    for tensor in inference.inputs:
        if tensor.name not in specs:
            raise invalid(f"{model.name} has no input {tensor.name[:80]!r}; it has {', '.join(specs)}")
        if tensor.name in given:
            raise invalid(f"input {tensor.name} is given twice")
        given[tensor.name] = tensor
    if image_name not in given:
        raise invalid(f"input {image_name} is missing")
    image = given[image_name]
    size = _checked_size(model, image.datatype, image.shape, limits)
    threshold = array_of(given[THRESHOLD]) if THRESHOLD in given else None
    thresholds = model.budget.thresholds(inference.parameters, threshold, image.shape[0], size, cost_class)
    return array_of(image), thresholds, size


# Clients send the same again and again. What is refused is not kept; a model that was unloaded is, for a while.
@functools.lru_cache(maxsize=64)
def _checked_size(model: ServedModel, datatype: str, shape: tuple[int, ...], limits: Limits) -> tuple[int, int]:
    """(height, width) of the network's input, for an image of that datatype and shape.

    Checked before a byte is converted: datatype, rank, samples, channels and sides.
    """
    spec, preprocessing = model.deployment.info.inputs[0], model.deployment.info.preprocessing
    pixels = datatype == "UINT8" and spec.dtype != "uint8"
    if not pixels and datatype != model.image_datatype:
        raise invalid(
            f"input {spec.name} has datatype {datatype[:20]!r};"
            f" it takes {model.image_datatype} {list(spec.shape)} or UINT8 [N, H, W, 3]"
        )
    if len(shape) != 4:
        raise invalid(f"input {spec.name} has {len(shape)} dimensions, it takes 4")
    if shape[0] > limits.batch:
        raise invalid(f"a request may have {limits.batch} samples, this one has {shape[0]}")
    height, width = shape[1:3] if pixels else shape[2:]
    if pixels:
        if shape[3] != 3:
            raise invalid(f"input {spec.name} has {shape[3]} channels, pixels have 3")
        height, width = input_size(preprocessing, (height, width), limits)
    elif height * width > limits.image_pixels:
        raise invalid(f"images may have {limits.image_pixels} pixels, this one has {height * width}")
    elif height % preprocessing.pad_multiple or width % preprocessing.pad_multiple:
        raise invalid(f"input {spec.name}: sides must be multiples of {preprocessing.pad_multiple}")
    if model.deployment.info.routing is not None:
        try:
            check_size((height, width), model.deployment.info.routing["gate"])
        except UsageError as error:
            raise invalid(f"input {spec.name}: {error.message}") from error
    channels = spec.shape[1] if pixels else shape[1]
    for wanted, got in zip(spec.shape[1:], (channels, height, width), strict=True):
        if isinstance(wanted, int) and wanted != got:
            raise invalid(f"input {spec.name} is {list(shape)}, it takes {list(spec.shape)}")
    return height, width


def input_size(preprocessing: Preprocessing, size: tuple[int, int], limits: Limits) -> tuple[int, int]:
    """Height and width of the network's input for an image of `size`.

    Raises:
        Refusal: the image is too large, before or after resizing, or smaller than what is cut out of it.
    """
    height, width = size
    # Resizing the shorter side of a thin strip makes a huge image of a small one.
    if isinstance(preprocessing.resize, int):
        short = min(size)
        height, width = (round(side * preprocessing.resize / short) for side in size)
    elif preprocessing.resize is not None:
        height, width = preprocessing.resize
    if max(size[0] * size[1], height * width) > limits.image_pixels:
        raise invalid(f"images may have {limits.image_pixels} pixels, this one is {size[0]} x {size[1]}")
    if preprocessing.crop is not None:
        if height < preprocessing.crop[0] or width < preprocessing.crop[1]:
            raise invalid(f"an image of {height} x {width} pixels is smaller than the crop {preprocessing.crop}")
        height, width = preprocessing.crop
    return preprocessing.padded_size((height, width))


def resized(preprocessing: Preprocessing, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[N,H,W,3] to the size that the network takes, image by image as `adroit run` does it."""
    try:
        return np.stack([preprocessing.geometry(image) for image in images])
    except UsageError as error:
        raise invalid(error.message) from error
