"""Encoded images in; labels, or the class of every pixel, out."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.runtimes.choices import OperatorForm
from tests.conftest import Adroit
from tests.serve.server import Server
from tests.serve.test_conformance import enlarged


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
    told = json.loads(body)
    assert (told["model_name"], told["model_version"]) == ("adder-resnet20", "1")
    assert told["likeliest"] == json.loads(result.out)[0]["likeliest"]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP"])
def test_other_encodings(kind: str, server: Server, photographs: np.ndarray) -> None:
    status, body = server.post("/v2/models/adder-lenet5-bn/predict", encoded(photographs[0], kind))
    assert status == 200, body
    assert len(json.loads(body)["likeliest"]) == 5


def test_a_class_map_has_the_size_of_the_image(server: Server, photographs: np.ndarray) -> None:
    """Whatever was added for the network: 150 x 170 pixels are padded to 160 x 192."""
    image = enlarged(photographs[:1])[0]
    image = np.concatenate([image, image[:22]])[:, :, :]
    image = np.concatenate([image, image[:, :10]], axis=1)
    status, plain = server.post("/v2/models/routed/predict", encoded(image))
    assert status == 200, plain
    told = json.loads(plain)
    assert told["size"] == [150, 170]
    assert sum(each["share"] for each in told["shares"]) == pytest.approx(1.0)
    status, body = server.post("/v2/models/routed/predict?gate_threshold=0", encoded(image), Accept="image/png")
    assert status == 200, body
    classes = np.asarray(Image.open(io.BytesIO(body)))
    assert classes.shape == (150, 170)
    values, counts = np.unique(classes, return_counts=True)
    assert {str(v): c / classes.size for v, c in zip(values, counts, strict=True)} == {
        each["label"].removeprefix("class "): pytest.approx(each["share"]) for each in told["shares"]
    }


def test_a_budget_in_the_address(server: Server, photographs: np.ndarray) -> None:
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
        "an unknown question": ("adder-lenet5-bn?tops=3", good),
        "no number": ("adder-lenet5-bn?top=few", good),
        "a number too large": ("adder-lenet5-bn?top=100000", good),
        "twice": ("adder-lenet5-bn?top=3&top=4", good),
        "a budget without gates": ("adder-lenet5-bn?gflops=1", good),
    }


@pytest.mark.parametrize("what", wrong_images(np.zeros((1, 32, 32, 3), np.uint8)))
def test_what_is_no_image_or_no_question_is_refused(what: str, server: Server, photographs: np.ndarray) -> None:
    address, body = wrong_images(photographs)[what]
    model, _, query = address.partition("?")
    before = server.resident_mib
    status, answer = server.post(f"/v2/models/{model}/predict?{query}", body)
    assert status == 400, answer
    assert len(json.loads(answer)["error"]) < 500
    assert server.resident_mib - before < 50


def test_a_map_of_a_classification_is_refused(server: Server, photographs: np.ndarray) -> None:
    status, _ = server.post("/v2/models/adder-lenet5-bn/predict", encoded(photographs[0]), Accept="image/png")
    assert status == 400
