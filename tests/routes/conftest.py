"""A small routed network whose images take different routes, deployed, with images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploy.entry import Entry
from deploy.export.entry import Routing, export_entry
from deploy.runtimes.native import native_library
from deploy.runtimes.open import RuntimeOptions
from models.architectures import architecture_named
from models.checkpoint import CheckpointConfig, save_checkpoint
from models.data.images import ImageSet
from models.data.preprocessing import Preprocessing
from models.errors import EnvironmentFault
from models.networks.dynamic_routing.network import DynamicRouting
from tests.networks.routed import SIZE, images, routed_network

# Test images hold values from about -5 to 5; pixels are whole numbers.
PIXELS = Preprocessing(divisor=20.0, mean=(6.0, 6.0, 6.0), pad_multiple=32)


@pytest.fixture(scope="session")
def network() -> DynamicRouting:
    """Float64; do not change it."""
    return routed_network(4, 8, "small", classes=11)


@pytest.fixture(scope="session")
def checkpoint(network: DynamicRouting, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("routes") / "checkpoint"
    arguments = {"depth": 4, "width": 8, "gate": "small", "classes": 11}
    known = architecture_named("dynamic-small")
    save_checkpoint(folder, network.float(), CheckpointConfig(known.name, PIXELS, arguments))
    network.double()
    return folder


@pytest.fixture(scope="session")
def entries(checkpoint: Path) -> dict[str, Entry]:
    """The masked and if forms; do not change them."""
    return {
        form: export_entry(checkpoint, checkpoint.parent, form, routing=Routing(form))  # type: ignore[arg-type]
        for form in ("masked", "if")
    }


@pytest.fixture(scope="session")
def options() -> RuntimeOptions:
    """One thread; the portable bodies where the native library could not be built."""
    from deploy.runtimes.choices import OperatorForm

    try:
        native_library()
    except EnvironmentFault:
        return RuntimeOptions(operators=OperatorForm.portable, threads=1)
    return RuntimeOptions(threads=1)


def pixels(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """[count,H,W,3] uint8 whose network input is tests.networks.routed.images, rounded and clipped."""
    values = images(count, size, seed).permute(0, 2, 3, 1).numpy()
    return np.clip(np.rint(20.0 * (values + 6.0)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def image_set() -> ImageSet:
    """Ten images, the last two larger."""
    pictures = [*pixels(8, SIZE), *pixels(2, (190, 130), seed=5)]
    return ImageSet([f"{i}.png" for i in range(len(pictures))], lambda i: pictures[i])


@pytest.fixture(scope="session")
def image_folder(image_set: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as files."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("routed-images")
    for index, name in enumerate(image_set.names):
        Image.fromarray(image_set.load(index)).save(folder / name)
    return folder
