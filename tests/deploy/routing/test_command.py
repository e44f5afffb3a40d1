"""`adroit routes`: diagrams, use of the paths, and images along a given route."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.collect import collect_routes
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import ImageSet
from adroit.models.routing.route import Route
from tests.conftest import Adroit


def test_pictures_and_routes_are_written(
    deployments: dict[str, Deployment], options: RuntimeOptions, image_folder: Path, image_set: ImageSet,
    tmp_path: Path, adroit: Adroit,
) -> None:  # fmt: skip
    images = [image_folder / "0.png", image_folder / "8.png"]
    command = ["routes", deployments["if"].path, *images, "--data", image_folder, "-o", tmp_path / "out"]
    result = adroit(*command, "--operators", options.operators, "--json")
    assert result.code == 0, result.err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        f"{name}.{suffix}" for name in ("0", "8", "usage") for suffix in ("svg", "png", "json")
    }
    printed = json.loads(result.out)
    samples = {sample.image: sample for sample in collect_routes(deployments["if"], options, image_set)}
    for name, values in zip(("0", "8"), printed["images"], strict=True):
        route = Route.from_json(json.loads((tmp_path / "out" / f"{name}.json").read_text()))
        assert route == samples[f"{name}.png"].route == Route.from_json(values["route"])
        assert sum(values["operations"].values()) == samples[f"{name}.png"].operations.total
        ElementTree.parse(tmp_path / "out" / f"{name}.svg")
        with Image.open(tmp_path / "out" / f"{name}.png") as drawn:
            assert drawn.width > 300
    assert len(printed["usage"]["images"]) == 10


def test_a_saved_route_is_replayed(
    deployments: dict[str, Deployment], options: RuntimeOptions, image_folder: Path, tmp_path: Path, adroit: Adroit
) -> None:
    image = image_folder / "3.png"
    first = adroit("routes", deployments["if"].path, image, "-o", tmp_path, "--operators", options.operators)
    assert first.code == 0 and "3.png" in first.out, first.err
    again = adroit("routes", deployments["if"].path, image, "--route", tmp_path / "3.json")
    assert "same class as the dynamic network: 100.0000%" in again.out, again.err
    # The image along its own route takes it: the same row of the table.
    assert again.out.splitlines()[1] == first.out.splitlines()[1]
    other = adroit("routes", deployments["if"].path, image, "--route", "none", "--json")
    (replayed,) = json.loads(other.out)["replayed"]
    assert replayed["same_class"] < 1.0 and replayed["largest_difference"] > 0.0


@pytest.mark.parametrize("arguments", [[], ["nowhere.png"], ["--data", "nowhere"]])
def test_without_images_there_is_nothing_to_show(
    arguments: list[str], deployments: dict[str, Deployment], adroit: Adroit
) -> None:
    result = adroit("routes", deployments["if"].path, *arguments)
    assert result.code == 2
    assert "no images" in result.err or "no such" in result.err
