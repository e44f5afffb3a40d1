"""Encoded images in; labels, or the class of every pixel, out."""

from __future__ import annotations

import base64
import io
import json
import struct
import urllib.request
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import ExifTags, Image

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.diagram import COLOR
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.serve.engine.inference import InferenceResult
from adroit.deploy.serve.http.predict import Query, _encode
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from adroit.models.data.image_files import read_image
from tests.conftest import Adroit
from tests.deploy.serve.photographs import enlarged
from tests.deploy.serve.server import Server

SVG = "{http://www.w3.org/2000/svg}"


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_labels_are_those_of_adroit_run(
    server: Server, photographs: np.ndarray, repository: Path, operators: OperatorForm, adroit: Adroit, tmp_path: Path
) -> None:
    (tmp_path / "image.png").write_bytes(encoded(photographs[0]))
    arguments = ("--top", 3, "--json", "--threads", 1, "--operators", operators.value)
    result = adroit("run", repository / "adder-resnet20", "--data", tmp_path / "image.png", *arguments)
    status, body = server.post("/v2/models/adder-resnet20/predict?top=3", encoded(photographs[0]))
    assert status == 200, body
    response = json.loads(body)
    assert (response["model_name"], response["model_version"]) == ("adder-resnet20", "1")
    assert response["predictions"] == json.loads(result.out)[0]["predictions"]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP"])
def test_other_encodings(kind: str, server: Server, photographs: np.ndarray) -> None:
    status, body = server.post("/v2/models/adder-lenet5-bn/predict", encoded(photographs[0], kind))
    assert status == 200, body
    assert len(json.loads(body)["predictions"]) == 5


def test_a_class_map_has_the_size_of_the_image(server: Server, photographs: np.ndarray) -> None:
    """Whatever was added for the network: 150 x 170 pixels are padded to 160 x 192."""
    image = enlarged(photographs[:1])[0]
    image = np.concatenate([image, image[:22]])[:, :, :]
    image = np.concatenate([image, image[:, :10]], axis=1)
    status, plain = server.post("/v2/models/routed/predict", encoded(image))
    assert status == 200, plain
    response = json.loads(plain)
    assert response["size"] == [150, 170]
    assert sum(each["share"] for each in response["shares"]) == pytest.approx(1.0)
    status, body = server.post("/v2/models/routed/predict?gate_threshold=0", encoded(image), Accept="image/png")
    assert status == 200, body
    classes = np.asarray(Image.open(io.BytesIO(body)))
    assert classes.shape == (150, 170)
    values, counts = np.unique(classes, return_counts=True)
    assert {str(v): c / classes.size for v, c in zip(values, counts, strict=True)} == {
        each["label"].removeprefix("class "): pytest.approx(each["share"]) for each in response["shares"]
    }


def test_a_budget_in_the_url(server: Server, photographs: np.ndarray) -> None:
    image = encoded(enlarged(photographs[:1])[0])
    costs = []
    for threshold in (0, 1):
        status, body = server.post(f"/v2/models/routed/predict?gate_threshold={threshold}", image)
        assert status == 200, body
        assert json.loads(body)["parameters"]["gate_threshold"] == threshold
        costs.append(json.loads(body)["parameters"]["route_gflops"])
    assert costs[1] < costs[0]


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def wrong_images(photographs: np.ndarray) -> dict[str, tuple[str, bytes]]:
    good = encoded(photographs[0])
    return {
        "nothing": ("adder-lenet5-bn", b""),
        "text": ("adder-lenet5-bn", b"hello"),
        "an image cut short": ("adder-lenet5-bn", good[: len(good) // 2]),
        "another format": ("adder-lenet5-bn", encoded(photographs[0], "GIF")),
        "sixteen bits a value": ("adder-lenet5-bn", encoded(photographs[0, ..., 0].astype(np.uint16))),
        "far too many pixels": ("adder-resnet20", bomb()),
        "too small for the gates": ("routed", encoded(photographs[0])),
        "an unknown name in the query": ("adder-lenet5-bn?tops=3", good),
        "no number": ("adder-lenet5-bn?top=few", good),
        "a number too large": ("adder-lenet5-bn?top=100000", good),
        "twice": ("adder-lenet5-bn?top=3&top=4", good),
        "a budget without gates": ("adder-lenet5-bn?gflops=1", good),
    }


@pytest.mark.parametrize("what", wrong_images(np.zeros((1, 32, 32, 3), np.uint8)))
def test_what_is_no_image_or_no_query_is_refused(what: str, server: Server, photographs: np.ndarray) -> None:
    address, body = wrong_images(photographs)[what]
    model, _, query = address.partition("?")
    before = server.resident_mib  # the largest image has 10 GB, so that 50 MiB are far from noise and from harm
    status, answer = server.post(f"/v2/models/{model}/predict?{query}", body)
    assert status == 400, answer
    assert len(json.loads(answer)["error"]) < 500
    assert server.resident_mib - before < 50


def test_a_map_of_a_classification_is_refused(server: Server, photographs: np.ndarray) -> None:
    status, _ = server.post("/v2/models/adder-lenet5-bn/predict", encoded(photographs[0]), Accept="image/png")
    assert status == 400


def test_what_a_client_can_request_is_described(server: Server, repository: Path) -> None:
    response = server.json("/v2/models/routed/predict")
    assert (response["task"], response["routed"], response["gated"]) == ("segmentation", True, True)
    assert [step["gflops"] for step in response["budget"]] == [0.4, 0.2, 0.1]
    assert [step["gate_threshold"] for step in response["budget"]] == [0.0, 0.3, 1.0]
    response = server.json("/v2/models/adder-resnet20/predict")
    assert (response["task"], response["routed"], response["gated"], response["budget"]) == (
        "classification",
        False,
        False,
        [],
    )
    assert response["labels"] == list(Deployment.read(repository / "adder-resnet20").info.labels)
    assert server.get("/v2/models/other/predict")[0] == 404


def test_the_map_and_the_route_come_with_the_shares_on_request(server: Server, photographs: np.ndarray) -> None:
    image = encoded(enlarged(photographs[:1])[0])
    status, body = server.post("/v2/models/routed/predict?map=true&route=true", image)
    assert status == 200, body
    response = json.loads(body)
    _, alone = server.post("/v2/models/routed/predict", image, Accept="image/png")
    gray, picture = Image.open(io.BytesIO(base64.b64decode(response["map"]))), Image.open(io.BytesIO(alone))
    assert (gray.mode, picture.mode) == ("L", "P")  # a browser's canvas sees colors alone
    np.testing.assert_array_equal(np.asarray(gray), np.asarray(picture))
    diagram = ElementTree.fromstring(response["route"])
    opened = [line for line in diagram.iter(f"{SVG}line") if float(line.get("stroke-width", "0")) > 0.8]
    _, body = server.post("/v2/models/routed/predict?route=true&gate_threshold=1", image)
    closed = json.loads(body)
    assert (closed["map"], closed["shares"] is None) == (None, False)
    thresholded = ElementTree.fromstring(closed["route"])
    assert 0 < len(opened) > sum(line.get("stroke") == COLOR for line in thresholded.iter(f"{SVG}line")) == 0


@pytest.mark.parametrize("query", ["map=true", "route=true", "map=maybe"])
def test_what_a_network_cannot_give_is_refused(query: str, server: Server, photographs: np.ndarray) -> None:
    assert server.post(f"/v2/models/adder-resnet20/predict?{query}", encoded(photographs[0]))[0] == 400


def test_the_response_contains_where_its_time_went(server: Server, photographs: np.ndarray) -> None:
    address = f"http://{server.http}/v2/models/adder-resnet20/predict"
    with urllib.request.urlopen(urllib.request.Request(address, encoded(photographs[0]), method="POST")) as answer:
        response = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
    assert list(response) == ["image", "queue", "network", "answer"]
    assert float(response["network"]) > 0 <= float(response["queue"])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_seen_as_it_was_held(
    orientation: int, server: Server, photographs: np.ndarray, tmp_path: Path
) -> None:
    """As browsers show it. EXIF's numbers say how the stored pixels are to be turned."""
    upright = enlarged(photographs[:1])[0]
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
        6: np.rot90(upright), 7: upright[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "held.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "held.png"), upright)
    _, body = server.post("/v2/models/routed/predict?map=1", (tmp_path / "held.png").read_bytes())
    _, plain = server.post("/v2/models/routed/predict?map=1", encoded(upright))
    assert json.loads(body)["size"] == list(upright.shape[:2])
    assert json.loads(body)["map"] == json.loads(plain)["map"]


def test_logits_that_are_not_finite_are_a_fault_of_the_model(resnet_deployment: Deployment) -> None:
    model: Any = SimpleNamespace(name="mine", version="1", deployment=resnet_deployment)
    logits = np.zeros((1, 10), np.float32)
    image = np.zeros((32, 32, 3), np.uint8)
    logits[0, 3] = -np.inf  # a class that is excluded
    _encode(model, Query(), image, InferenceResult({"logits": logits}, {}, 0.0, 0.0), False)
    logits[0, 4] = np.nan
    with pytest.raises(Refusal, match="logits of mine are not finite") as caught:
        _encode(model, Query(), image, InferenceResult({"logits": logits}, {}, 0.0, 0.0), False)
    assert caught.value.reason is Reason.FAULT
