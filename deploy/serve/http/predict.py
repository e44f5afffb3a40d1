"""The `predict` endpoint: an image file in; the most probable labels, or the class of every pixel, out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from adroit.deploy.deployment.names import GATES_OUTPUT
from adroit.deploy.deployment.predictions import ClassShare, Prediction, class_shares, tells_no_class, top_k
from adroit.deploy.deployment.routed import executed_route, routing_space
from adroit.deploy.routing.budget.table import read_table
from adroit.deploy.routing.diagram import route_diagram
from adroit.deploy.serve.engine.inference import Inference, InferenceResult
from adroit.deploy.serve.engine.model import Model
from adroit.deploy.serve.http.image_files import class_map, decode_image
from adroit.deploy.serve.http.negotiation import media_weight
from adroit.deploy.serve.protocol.messages import Parameter
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.deploy.serve.protocol.tensors import RawBytes, RequestTensor
from adroit.deploy.serve.service import Service
from adroit.models.data.palette import gray_png, palette_png
from adroit.models.data.preprocessing import Image
from adroit.models.routing.route import Route

_PARAMETERS = ("gate_threshold", "gflops", "milliseconds", "timeout", "cost_class")


class Query(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The URL's query: how many labels, what to add, a budget, microseconds to wait, a cost class."""

    top: Annotated[int, Meta(ge=1, le=1000)] = 5
    map: bool = False
    route: bool = False
    gate_threshold: float | None = None
    gflops: float | None = None
    milliseconds: float | None = None
    timeout: int | None = None
    cost_class: str | None = None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters of the inference that the query contains."""
        values = {name: getattr(self, name) for name in _PARAMETERS}
        return {name: value for name, value in values.items() if value is not None}


class PredictResult(Struct):
    """The answer to one image.

    Attributes:
        predictions: the most probable labels of a classification, best first.
        shares: the shares of the pixels by class, largest first, of a segmentation.
        size: (height, width) of the segmented image in pixels.
        parameters: what the route cost, of a network with gates.
        map: on request, the class of every pixel as a PNG with one byte each (base64 in JSON).
        route: on request, the way through a routed network as an SVG.
    """

    model_name: str
    model_version: str
    predictions: list[Prediction] | None = None
    shares: list[ClassShare] | None = None
    size: tuple[int, int] | None = None
    parameters: dict[str, Parameter] = {}
    map: bytes | None = None
    route: str | None = None


class BudgetSetting(Struct):
    """A row of the deployment's budget table: means over the images of its calibration."""

    gate_threshold: float
    gflops: float
    milliseconds: float
    agreement: float


class Description(Struct):
    """What a client can request of a model here; `budget` is its table, most expensive setting first."""

    model_name: str
    model_version: str
    task: str
    labels: Sequence[str]
    routed: bool
    gated: bool
    budget: list[BudgetSetting]


@dataclass(frozen=True)
class EncodedPrediction:
    """A response's body, its content type and its further headers."""

    content: bytes
    kind: str
    headers: Mapping[str, str]


def read_query(text: bytes) -> Query:
    """Read a URL's query. Raises Refusal for a name or value that Query does not take, or a name that comes twice."""
    pairs = parse_qsl(text.decode("ascii", "replace"), keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        raise invalid("the URL's query names something twice")
    try:
        return msgspec.convert(dict(pairs), Query, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(f"the URL's query: {error}") from None


def wants_map(model: Model, accept: bytes) -> bool:
    """Tell whether a client wants the class map alone, by its header Accept, or takes nothing but that.

    The second is for a network that has no map, whose JSON is better than a refusal wherever the client takes it.
    """
    png, json = (media_weight(accept, kind) for kind in ("image/png", "application/json"))
    return png > json and (json == 0 or model.deployment.info.task == "segmentation")


def describe(model: Model) -> Description:
    """Return what a client can request of `model`."""
    info, gated = model.deployment.info, model.budget.gated
    table = read_table(model.deployment).settings if gated and info.budget is not None else ()
    settings = [BudgetSetting(s.threshold, s.gigaflops.mean, s.milliseconds.mean, s.agreement) for s in table]
    return Description(model.name, model.version, info.task, info.labels, info.routing is not None, gated, settings)


async def predict(
    service: Service, model: Model, query: Query, body: RawBytes, as_map: bool, authorization: str
) -> EncodedPrediction:
    """Run a model on one image file.

    Args:
        as_map: answer with the classes of a segmentation as a picture (PNG with a palette), instead of JSON.
        authorization: the header of that name.

    Raises:
        Refusal: a body that is no image, or a query that this network cannot answer.
    """
    info = model.deployment.info
    if info.task not in ("classification", "segmentation"):
        raise invalid(f"{model.name} tells no classes, its task is {info.task}: use /v2/models/{model.name}/infer")
    if (as_map or query.map) and info.task != "segmentation":
        raise invalid(f"{model.name} gives labels, no map: accept application/json")
    if query.route and info.routing is None:
        raise invalid(f"{model.name} is no routed network, it has no route")
    started = time.perf_counter()
    image: Image = await service.workers.run(decode_image, model, body, service.options.limits)
    seconds = {"image": time.perf_counter() - started}
    result = await _infer(service, model, query, image, authorization)
    seconds |= {"queue": result.queue_seconds, "network": result.execution_seconds}
    started = time.perf_counter()
    content, kind = await service.workers.run(_encode, model, query, image, result, as_map)
    seconds["answer"] = time.perf_counter() - started
    headers = {"server-timing": ", ".join(f"{part};dur={1000 * spent:.3f}" for part, spent in seconds.items())}
    if as_map:
        headers |= {f"adroit-{name.replace('_', '-')}": str(value) for name, value in result.parameters.items()}
    return EncodedPrediction(content, kind, headers)


async def _infer(service: Service, model: Model, query: Query, image: Image, authorization: str) -> InferenceResult:
    info = model.deployment.info
    tensor = RequestTensor(info.inputs[0].name, "UINT8", (1, *image.shape), image.tobytes())
    names = [spec.name for spec in info.outputs]
    requested = names[:1] + [GATES_OUTPUT] * (query.route and GATES_OUTPUT in names)
    return await service.infer(model, Inference([tensor], requested, query.parameters, None, authorization))


def _encode(model: Model, query: Query, image: Image, result: InferenceResult, as_map: bool) -> tuple[bytes, str]:
    info = model.deployment.info
    logits = result.outputs[info.outputs[0].name]
    if tells_no_class(logits).any():
        raise Refusal(Reason.FAULT, f"the logits of {model.name} are not finite for this image, so they tell no class")
    response = PredictResult(model.name, model.version, parameters=dict(result.parameters))
    if info.task == "classification":
        (response.predictions,) = top_k(logits, info.labels, query.top)
    else:
        classes = class_map(model, logits, image)
        if (as_map or query.map) and classes.dtype != np.uint8:
            raise invalid(f"{model.name} has more classes than the 256 that a map can hold: accept application/json")
        if as_map:
            return palette_png(classes.astype(np.uint8)), "image/png"
        response.size, response.shares = classes.shape, class_shares(classes, info.labels)
        response.map = gray_png(classes.astype(np.uint8)) if query.map else None
    if query.route:
        response.route = _route(model, result)
    return msgspec.json.encode(response), "application/json"


def _route(model: Model, result: InferenceResult) -> str:
    """Draw the image's own route as an SVG, or the route of every image where nothing is gated."""
    gates: NDArray[Any] | None = result.outputs.get(GATES_OUTPUT)
    if gates is None:
        return route_diagram("the route of every image", executed_route(model.deployment, None)).svg()
    route = Route.from_gates(routing_space(model.deployment), gates[0])
    gflops = result.parameters.get("route_gflops")
    title = "the image's route" + (f": {gflops:.4g} GFLOPs" if isinstance(gflops, float) else "")
    return route_diagram(title, route, gates[0].tolist()).svg()
