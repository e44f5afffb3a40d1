"""The second endpoint: an encoded image in; the likeliest labels, or the class of every pixel, out."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from deploy.likeliest import likeliest
from deploy.serve.inference import Inference, input_size
from deploy.serve.messages import Parameter
from deploy.serve.options import Limits
from deploy.serve.refusal import Refusal, invalid
from deploy.serve.served_model import ServedModel
from deploy.serve.service import Service
from deploy.serve.tensors import GivenTensor, RawBytes
from models.data.preprocessing import Image

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")


class Query(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What the address may say: how many labels, a budget, microseconds to wait, a cost class."""

    top: Annotated[int, Meta(ge=1, le=1000)] = 5
    gate_threshold: float | None = None
    gflops: float | None = None
    milliseconds: float | None = None
    timeout: int | None = None
    cost_class: str | None = None

    @property
    def parameters(self) -> dict[str, Parameter]:
        values = {name: getattr(self, name) for name in self.__struct_fields__ if name != "top"}
        return {name: value for name, value in values.items() if value is not None}


class Likely(Struct):
    label: str
    share: float


class Prediction(Struct):
    """`likeliest` of a classification; `shares` of the pixels by class, largest first, of a segmentation."""

    model_name: str
    model_version: str
    likeliest: list[Likely] | None = None
    shares: list[Likely] | None = None
    size: tuple[int, int] | None = None
    parameters: dict[str, Parameter] = {}


def read_query(text: bytes) -> Query:
    """Raises Refusal for what is not in a Query, or twice in the text."""
    pairs = parse_qsl(text.decode("ascii", "replace"), keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        raise invalid("the address names something twice")
    try:
        return msgspec.convert(dict(pairs), Query, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(f"the address: {error}") from None


async def predict(
    service: Service, model: ServedModel, query: Query, body: RawBytes, as_map: bool, authorization: str
) -> tuple[bytes, str, Mapping[str, Parameter]]:
    """The answer's body, its content type, and what is to be said beside it.

    Args:
        as_map: the classes of a segmentation as a PNG with one byte a pixel, instead of JSON.
        authorization: the header of that name.
    """
    info, limits = model.entry.info, service.options.limits
    if as_map and info.task != "segmentation":
        raise invalid(f"{model.name} gives labels, no map: ask for application/json")
    image: Image = await service.preparer.run(decode_image, model, body, limits)
    tensor = GivenTensor(info.inputs[0].name, "UINT8", (1, *image.shape), image.tobytes())
    logits = info.outputs[0].name
    answer = await service.infer(model, Inference([tensor], [logits], query.parameters, None, authorization))
    told = Prediction(model.name, model.version, parameters=dict(answer.parameters))
    if info.task == "classification":
        (best,) = likeliest(answer.outputs[logits], info.labels, query.top)
        told.likeliest = [Likely(label, share) for label, share in best]
    else:
        classes = await service.preparer.run(_classes, model, answer.outputs[logits], image)
        if as_map:
            return await service.preparer.run(_png, classes), "image/png", answer.parameters
        told.size, told.shares = classes.shape, _shares(classes, info.labels)
    return msgspec.json.encode(told), "application/json", answer.parameters


def decode_image(model: ServedModel, content: RawBytes, limits: Limits) -> Image:
    """[H,W,3] uint8; its size is checked before its pixels are unpacked.

    Raises:
        Refusal: no image, of another format, damaged, with more than 8 bits a value, or too large.
    """
    from PIL import Image as Pillow

    try:
        with Pillow.open(io.BytesIO(content), formats=_FORMATS) as file:
            width, height = file.size
            if file.mode.startswith(("I", "F")):
                raise invalid("the image has more than 8 bits a value")
            input_size(model.entry.info.preprocessing, (height, width), limits)
            return np.ascontiguousarray(file.convert("RGB"))
    except Refusal:
        raise
    except Exception as error:  # Pillow raises almost anything for damaged files
        reason = re.sub(r"<_io\S* object at \w+>", "the body", str(error))
        raise invalid(f"not a readable {', '.join(_FORMATS)} image: {reason}") from error


def _classes(model: ServedModel, logits: NDArray[Any], image: Image) -> NDArray[np.uint8]:
    """[1,classes,H,W] to [H,W], without the padding that the network needed."""
    preprocessing = model.entry.info.preprocessing
    height, width = preprocessing.geometry(image).shape[:2]
    return preprocessing.unpadded(logits[0].argmax(0).astype(np.uint8), (height, width))


def _png(classes: NDArray[np.uint8]) -> bytes:
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(classes).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _shares(classes: NDArray[np.uint8], labels: Sequence[str]) -> list[Likely]:
    values, counts = np.unique(classes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [Likely(labels[values[i]] if labels else str(values[i]), float(counts[i] / classes.size)) for i in order]
