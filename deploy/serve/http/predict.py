"""The second endpoint: an encoded image in; the likeliest labels, or the class of every pixel, out."""

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

from adroit.deploy.deployment.deployment import GATES
from adroit.deploy.deployment.predictions import likeliest
from adroit.deploy.deployment.routed import executed_route, routing_space
from adroit.deploy.routing.budget.table import read_table
from adroit.deploy.routing.diagram import route_picture
from adroit.deploy.serve.engine.inference import Answer, Inference
from adroit.deploy.serve.engine.served_model import ServedModel
from adroit.deploy.serve.http.image_files import class_map, decode_image, png
from adroit.deploy.serve.protocol.messages import Parameter
from adroit.deploy.serve.protocol.refusal import invalid
from adroit.deploy.serve.protocol.tensors import GivenTensor, RawBytes
from adroit.deploy.serve.service import Service
from adroit.models.data.preprocessing import Image
from adroit.models.routing.route import Route

_PARAMETERS = ("gate_threshold", "gflops", "milliseconds", "timeout", "cost_class")


class Query(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What the address may say: how many labels, what to add, a budget, microseconds to wait, a cost class."""

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
        values = {name: getattr(self, name) for name in _PARAMETERS}
        return {name: value for name, value in values.items() if value is not None}


class Likely(Struct):
    label: str
    share: float


class Prediction(Struct):
    """`likeliest` of a classification; `shares` of the pixels by class, largest first, of a segmentation.

    If asked for: `map`, the class of every pixel as a PNG with one byte each (in base64), and `route`, the
    way through a routed network as an SVG.
    """

    model_name: str
    model_version: str
    likeliest: list[Likely] | None = None
    shares: list[Likely] | None = None
    size: tuple[int, int] | None = None
    parameters: dict[str, Parameter] = {}
    map: bytes | None = None
    route: str | None = None


class BudgetSetting(Struct):
    """Of the deployment's table: means over the images it was calibrated on."""

    gate_threshold: float
    gflops: float
    milliseconds: float
    agreement: float


class Description(Struct):
    """What can be asked of a model here. `budget`: its table, dearest first; empty where there is none."""

    model_name: str
    model_version: str
    task: str
    labels: Sequence[str]
    routed: bool
    gated: bool
    budget: list[BudgetSetting]


@dataclass(frozen=True)
class Predicted:
    """An answer's body, its content type, and the headers that tell more."""

    content: bytes
    kind: str
    headers: Mapping[str, str]


def read_query(text: bytes) -> Query:
    """Raises Refusal for what is not in a Query, or twice in the text."""
    pairs = parse_qsl(text.decode("ascii", "replace"), keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        raise invalid("the address names something twice")
    try:
        return msgspec.convert(dict(pairs), Query, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(f"the address: {error}") from None


def describe(model: ServedModel) -> Description:
    info, gated = model.deployment.info, model.budget.gated
    table = read_table(model.deployment).settings if gated and info.budget is not None else ()
    settings = [BudgetSetting(s.threshold, s.gigaflops.mean, s.milliseconds.mean, s.agreement) for s in table]
    return Description(model.name, model.version, info.task, info.labels, info.routing is not None, gated, settings)


async def predict(
    service: Service, model: ServedModel, query: Query, body: RawBytes, as_map: bool, authorization: str
) -> Predicted:
    """Answers one image.

    Args:
        as_map: the classes of a segmentation as a PNG with one byte a pixel, instead of JSON.
        authorization: the header of that name.

    Raises:
        Refusal: no image, or a question that this network has no answer to.
    """
    info = model.deployment.info
    if (as_map or query.map) and info.task != "segmentation":
        raise invalid(f"{model.name} gives labels, no map: ask for application/json")
    if query.route and info.routing is None:
        raise invalid(f"{model.name} is no routed network, it has no route")
    started = time.perf_counter()
    image: Image = await service.preparer.run(decode_image, model, body, service.options.limits)
    seconds = {"image": time.perf_counter() - started}
    answer = await _inferred(service, model, query, image, authorization)
    seconds |= {"queue": answer.waited, "network": answer.ran}
    started = time.perf_counter()
    content, kind = await service.preparer.run(_content, model, query, image, answer, as_map)
    seconds["answer"] = time.perf_counter() - started
    headers = {"server-timing": ", ".join(f"{part};dur={1000 * spent:.3f}" for part, spent in seconds.items())}
    if as_map:
        headers |= {f"adroit-{name.replace('_', '-')}": str(value) for name, value in answer.parameters.items()}
    return Predicted(content, kind, headers)


async def _inferred(service: Service, model: ServedModel, query: Query, image: Image, authorization: str) -> Answer:
    info = model.deployment.info
    tensor = GivenTensor(info.inputs[0].name, "UINT8", (1, *image.shape), image.tobytes())
    names = [spec.name for spec in info.outputs]
    wanted = names[:1] + [GATES] * (query.route and GATES in names)
    return await service.infer(model, Inference([tensor], wanted, query.parameters, None, authorization))


def _content(model: ServedModel, query: Query, image: Image, answer: Answer, as_map: bool) -> tuple[bytes, str]:
    info = model.deployment.info
    logits = answer.outputs[info.outputs[0].name]
    told = Prediction(model.name, model.version, parameters=dict(answer.parameters))
    if info.task == "classification":
        (best,) = likeliest(logits, info.labels, query.top)
        told.likeliest = [Likely(label, share) for label, share in best]
    else:
        classes = class_map(model, logits, image)
        if as_map:
            return png(classes), "image/png"
        told.size, told.shares = classes.shape, _shares(classes, info.labels)
        told.map = png(classes) if query.map else None
    if query.route:
        told.route = _route(model, answer)
    return msgspec.json.encode(told), "application/json"


def _shares(classes: NDArray[np.uint8], labels: Sequence[str]) -> list[Likely]:
    values, counts = np.unique(classes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [Likely(labels[values[i]] if labels else str(values[i]), float(counts[i] / classes.size)) for i in order]


def _route(model: ServedModel, answer: Answer) -> str:
    """As SVG: the image's own, or the one of every image where nothing is gated."""
    gates: NDArray[Any] | None = answer.outputs.get(GATES)
    if gates is None:
        return route_picture("the route of every image", executed_route(model.deployment, None)).svg()
    route = Route.from_gates(routing_space(model.deployment), gates[0])
    gflops = answer.parameters.get("route_gflops")
    title = "the image's route" + (f": {gflops:.4g} GFLOPs" if isinstance(gflops, float) else "")
    return route_picture(title, route, gates[0].tolist()).svg()
