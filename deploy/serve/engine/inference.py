"""An inference, over whichever protocol it came: checked against its model, queued, answered."""

from __future__ import annotations

import asyncio
import difflib
import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
from adroit.deploy.serve.cost_classes import PARAMETER as COST_CLASS
from adroit.deploy.serve.cost_classes import CostClass, CostClasses
from adroit.deploy.serve.engine.budget import PARAMETERS, requested_budget
from adroit.deploy.serve.engine.load_controller import TARGET_SHARE
from adroit.deploy.serve.engine.model import Model
from adroit.deploy.serve.job import InferenceJob
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.messages import Parameter
from adroit.deploy.serve.protocol.refusal import invalid
from adroit.deploy.serve.protocol.tensors import RequestTensor, array_from_tensor
from adroit.errors import UsageError
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.routing.cost import check_size

# The parameters that a request may carry beside its tensors; `timeout` is in microseconds.
KNOWN_PARAMETERS = PARAMETERS | {COST_CLASS, "timeout", "binary_data_output"}


def known_parameters(parameters: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return what a request's parameters say to this server: those of others, and those that are null, are passed over.

    Raises:
        Refusal: a name of ours that is misspelled, which would silently lose a budget or a time limit; a value that
            is no number, text or truth value.
    """
    known: dict[str, Parameter] = {}
    for name, value in parameters.items():
        if name not in KNOWN_PARAMETERS:
            near = difflib.get_close_matches(name[:40], KNOWN_PARAMETERS, n=1, cutoff=0.8)
            if near:
                raise invalid(f"unknown parameter {name[:80]!r}: did you mean {near[0]!r}?")
        elif isinstance(value, bool | int | float | str):
            known[name] = value
        elif value is not None:
            raise invalid(f"parameter {name} must be a number, a text, true or false")
    return known


@dataclass(frozen=True)
class Inference:
    """The content of a request for inference.

    Attributes:
        outputs: names of the requested outputs; all if empty.
        seconds: how long the client will wait, where its protocol says so.
        authorization: the header, or the call's metadata, of that name.
    """

    inputs: Sequence[RequestTensor]
    outputs: Sequence[str]
    parameters: Mapping[str, Parameter]
    seconds: float | None = None
    authorization: str = ""


@dataclass(frozen=True)
class InferenceResult:
    """The outputs, in the order of the request, and the parameters of the response.

    Attributes:
        queue_seconds, execution_seconds: time in the queue, and of the execution.
    """

    outputs: Mapping[str, NDArray[Any]]
    parameters: Mapping[str, Parameter]
    queue_seconds: float
    execution_seconds: float


class WorkerPool:
    """Threads that decode, resize and compress beside the event loop."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "prepare")

    async def run(self, function: Any, *arguments: Any) -> Any:
        """Call `function` in a thread; return or raise what it does."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Drop what has not begun; what runs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def infer(
    model: Model, inference: Inference, workers: WorkerPool, limits: Limits, classes: CostClasses
) -> InferenceResult:
    """Run one inference. Raises Refusal; a cancelled call takes its request out of the queue."""
    names = _check_outputs(model, inference.outputs)
    cost_class = classes.find(inference.parameters.get(COST_CLASS), inference.authorization)
    images, thresholds, size = check_inputs(model, inference, limits, cost_class)
    preprocessing = model.deployment.preprocessing
    if images.dtype == np.uint8 and (preprocessing.resize is not None or preprocessing.crop is not None):
        images = await workers.run(resize_images, preprocessing, images)
    now, seconds = asyncio.get_running_loop().time(), _time_limit(inference, limits)
    budget = requested_budget(inference.parameters, cost_class)
    job = InferenceJob(images, thresholds, now + seconds, now + TARGET_SHARE * seconds, budget=budget)
    if model.queue.load_controller and thresholds is not None:
        job.seconds = model.queue.load_controller.seconds(thresholds, size)
    outputs, parameters = await model.run(job)
    return InferenceResult(
        {name: outputs[name] for name in names}, parameters, job.queue_seconds, job.execution_seconds
    )


def _check_outputs(model: Model, names: Sequence[str]) -> Sequence[str]:
    known = model.output_names
    for name in names:
        if name not in known:
            raise invalid(f"{model.name} has no output {name[:80]!r}; it has {', '.join(known)}")
    if len(set(names)) != len(names):
        raise invalid("an output is requested twice")
    return names or known


def _time_limit(inference: Inference, limits: Limits) -> float:
    """Return how many seconds the request may take."""
    timeout = inference.parameters.get("timeout", 0)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 0:
        raise invalid("parameter timeout must be a whole number of microseconds")
    wait = min(limits.queue_seconds, timeout / 1e6) if timeout else limits.queue_seconds
    return wait if inference.seconds is None else min(wait, inference.seconds)


def check_inputs(
    model: Model, inference: Inference, limits: Limits, cost_class: CostClass
) -> tuple[NDArray[Any], NDArray[np.float32] | None, tuple[int, int]]:
    """Return the images, their thresholds and the size of the network's input.

    Images are uint8 [N,H,W,3] or float32 [N,C,H,W]; thresholds float32 [N], or None without gates; the size is
    (height, width) in pixels.

    Raises:
        Refusal: an input that is unknown, missing or given twice; a datatype, shape or size that the model cannot
            take.
    """
    specs, image_name = model.input_names, model.input_names[0]
    tensors: dict[str, RequestTensor] = {}
    for tensor in inference.inputs:
        if tensor.name not in specs:
            raise invalid(f"{model.name} has no input {tensor.name[:80]!r}; it has {', '.join(specs)}")
        if tensor.name in tensors:
            raise invalid(f"input {tensor.name} is given twice")
        tensors[tensor.name] = tensor
    if image_name not in tensors:
        raise invalid(f"input {image_name} is missing")
    image = tensors[image_name]
    size = _input_size_of(model, image.datatype, image.shape, limits)
    threshold = array_from_tensor(tensors[GATE_THRESHOLD_INPUT]) if GATE_THRESHOLD_INPUT in tensors else None
    thresholds = model.budget.thresholds(inference.parameters, threshold, image.shape[0], size, cost_class)
    return array_from_tensor(image), thresholds, size


# Clients send the same sizes again and again. A refusal is not cached; a model that was unloaded is, for a while.
@functools.lru_cache(maxsize=64)
def _input_size_of(model: Model, datatype: str, shape: tuple[int, ...], limits: Limits) -> tuple[int, int]:
    """Return (height, width) of the network's input for an image of that datatype and shape.

    Datatype, rank, samples, channels and sides are checked before a byte is converted.
    """
    spec, preprocessing = model.deployment.info.inputs[0], model.deployment.preprocessing
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
            check_size((height, width), model.deployment.info.routing.gate)
        except UsageError as error:
            raise invalid(f"input {spec.name}: {error.message}") from error
    channels = spec.shape[1] if pixels else shape[1]
    for expected, actual in zip(spec.shape[1:], (channels, height, width), strict=True):
        if isinstance(expected, int) and expected != actual:
            raise invalid(f"input {spec.name} is {list(shape)}, it takes {list(spec.shape)}")
    return height, width


def input_size(preprocessing: Preprocessing, size: tuple[int, int], limits: Limits) -> tuple[int, int]:
    """Return (height, width) of the network's input for an image of `size`, both in pixels.

    Raises:
        Refusal: the image is too large, before or after resizing, or smaller than what is cut out of it.
    """
    # Resizing the shorter side of a thin strip makes a huge image of a small one.
    height, width = preprocessing.resized_size(size)
    if max(size[0] * size[1], height * width) > limits.image_pixels:
        raise invalid(f"images may have {limits.image_pixels} pixels, this one is {size[0]} x {size[1]}")
    try:
        return preprocessing.input_size(size)
    except UsageError as error:
        raise invalid(error.message) from error


def resize_images(preprocessing: Preprocessing, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize and crop images [N,H,W,3] to the size that the network takes, one by one as `adroit run` does."""
    try:
        return np.stack([preprocessing.geometry(image) for image in images])
    except UsageError as error:
        raise invalid(error.message) from error
