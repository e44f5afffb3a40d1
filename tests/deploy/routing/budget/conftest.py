"""A routed deployment whose images take different routes, and images with label maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.data.images import ImageSet
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from tests.deploy.routing.conftest import PIXELS, pixels
from tests.models.networks.routed import SIZE, routed_network

CLASSES, DEPTH, WIDTH = 11, 3, 8


@pytest.fixture(scope="session")
def network() -> DynamicRouting:
    """Float64; do not change it."""
    return routed_network(DEPTH, WIDTH, "small", classes=CLASSES, sharpest=4.0)


@pytest.fixture(scope="session")
def checkpoint(network: DynamicRouting, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("budget") / "checkpoint"
    arguments = {"depth": DEPTH, "width": WIDTH, "gate": "small", "classes": CLASSES}
    save_checkpoint(folder, network.float(), CheckpointConfig("dynamic-small", PIXELS, arguments))
    network.double()
    return folder


@pytest.fixture(scope="session")
def routed_deployment(checkpoint: Path) -> Deployment:
    """The `if` form; do not change it."""
    return export_deployment(checkpoint, checkpoint.parent, "if", routing=Routing("if"))


@pytest.fixture(scope="session")
def labeled() -> ImageSet:
    """Twelve images of one size; their maps are random classes, some of it void."""
    arrays = pixels(12, SIZE)
    maps = np.random.default_rng(0).integers(0, CLASSES + 1, (12, *SIZE)).astype(np.uint8)
    maps[maps == CLASSES] = 255
    return ImageSet([f"{i}.png" for i in range(12)], lambda i: arrays[i], maps=lambda i: maps[i])
