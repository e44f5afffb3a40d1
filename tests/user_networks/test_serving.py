"""Networks of users' own behind `adroit serve`: images are served, what would be guessed is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

import adroit
from tests.deploy.serve.server import running, until


def test_an_image_network_is_served_and_its_values_are_no_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 1)).eval()
    deployment = adroit.export(network, tmp_path / "repository" / "depth", size=(16, 24), task="depth")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), np.uint8)
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}
    with running(tmp_path, tmp_path / "repository") as server:
        status, body = server.post("/v2/models/depth/infer", json.dumps({"inputs": [tensor]}).encode())
        assert status == 200, body
        (output,) = json.loads(body)["outputs"]
        status, body = server.post("/v2/models/depth/predict", b"an image")
        assert status == 400 and "tells no classes, its task is depth" in json.loads(body)["error"]
    expected = adroit.run(deployment, pixels, threads=1).outputs["output0"]
    np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), expected, rtol=1e-5)


def test_a_network_that_takes_no_images_is_refused_with_what_serves_it(tmp_path: Path) -> None:
    network = nn.Linear(4, 2).eval()
    adroit.export(network, tmp_path / "repository" / "rows", example={"x": torch.zeros(1, 4)})
    with running(tmp_path, tmp_path / "repository", wait=False) as server:
        reason = "takes no images, and this server serves networks of images"
        until(lambda: reason in server.post("/v2/repository/index")[1].decode())
