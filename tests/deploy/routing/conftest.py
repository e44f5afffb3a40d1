"""A small routed network whose images take different routes, deployed, with images."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.deploy.runtimes.native import native_library
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import EnvironmentFault
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.data.images import ImageSet
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.networks.architectures import architecture_named
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from tests.models.networks.routed import SIZE, images, routed_network

# Test images hold values from about -5 to 5; pixels are whole numbers.
PIXELS = Preprocessing(divisor=20.0, mean=(6.0, 6.0, 6.0), pad_multiple=32)


@functools.cache  # a fixture that several conftest.py import is made once for each
def _network() -> DynamicRouting:
    return routed_network(4, 8, "small", classes=11)


@functools.cache
def _checkpoint(base: Path) -> Path:
    network = _network()
    folder = base / "routes" / "checkpoint"
    arguments = {"depth": 4, "width": 8, "gate": "small", "classes": 11}
    known = architecture_named("dynamic-small")
    save_checkpoint(folder, network.float(), CheckpointConfig(known.name, PIXELS, arguments))
    network.double()
    return folder


@functools.cache
def _deployments(base: Path) -> dict[str, Deployment]:
    checkpoint = _checkpoint(base)
    return {
        form: export_deployment(checkpoint, checkpoint.parent, form, routing=Routing(form))  # type: ignore[arg-type]
        for form in ("masked", "if")
    }


@pytest.fixture(scope="session")
def network() -> DynamicRouting:
    """Float64; do not change it."""
    return _network()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of that network."""
    return _checkpoint(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployment]:
    """The masked and if forms; do not change them."""
    return _deployments(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def options() -> RuntimeOptions:
    """One thread; the portable bodies where the native library could not be built."""
    from adroit.deploy.runtimes.choices import OperatorForm

    try:
        native_library()
    except EnvironmentFault:
        return RuntimeOptions(operators=OperatorForm.portable, threads=1)
    return RuntimeOptions(threads=1)


def pixels(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """[count,H,W,3] uint8 whose network input is tests.models.networks.routed.images, rounded and clipped."""
    values = images(count, size, seed).permute(0, 2, 3, 1).numpy()
    return np.clip(np.rint(20.0 * (values + 6.0)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def image_set() -> ImageSet:
    """Ten images, the last two larger."""
    arrays = [*pixels(8, SIZE), *pixels(2, (190, 130), seed=5)]
    return ImageSet([f"{i}.png" for i in range(len(arrays))], lambda i: arrays[i])


@pytest.fixture(scope="session")
def image_folder(image_set: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images as files."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("routed-images")
    for index, name in enumerate(image_set.names):
        Image.fromarray(image_set.load(index)).save(folder / name)
    return folder
