"""Deployments to build, and what is skipped where NVIDIA's packages are not there."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.networks.architectures import architecture_named
from tests.conftest import make_checkpoint
from tests.models.networks.routed import routed_network


@pytest.fixture(scope="session")
def rtx() -> None:
    """Skips where NVIDIA's tensorrt-rtx or Polygraphy is not installed."""
    for module in ("tensorrt_rtx", "polygraphy"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install 'adroit-deploy[rtx]'")


@pytest.fixture(scope="session")
def anti_aliased_deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """An anti-aliased ResNet-20; do not change it."""
    folder = tmp_path_factory.mktemp("anti-aliased")
    return export_deployment(make_checkpoint(folder / "checkpoint", "aa-cifar-resnet20", (32, 32)), folder)


@pytest.fixture(scope="session")
def routed_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small routed network."""
    folder = tmp_path_factory.mktemp("routed") / "checkpoint"
    network = routed_network(3, 8, "small", classes=11).float()
    arguments = {"depth": 3, "width": 8, "gate": "small", "classes": 11}
    config = CheckpointConfig("dynamic-small", architecture_named("dynamic-small").preprocessing, arguments)
    save_checkpoint(folder, network, config)
    return folder


@pytest.fixture(scope="session")
def routed_deployment(routed_checkpoint: Path) -> Deployment:
    """The routed network in its If form; do not change it."""
    return export_deployment(routed_checkpoint, routed_checkpoint.parent, "if", routing=Routing("if"))


@pytest.fixture(scope="session")
def masked_deployment(routed_checkpoint: Path) -> Deployment:
    """The routed network in its masked form; do not change it."""
    return export_deployment(routed_checkpoint, routed_checkpoint.parent, "masked", routing=Routing("masked"))


@pytest.fixture
def lenet(lenet_deployment: Deployment, tmp_path: Path) -> Deployment:
    """A copy of the exported LeNet-5-BN, to build in."""
    shutil.copytree(lenet_deployment.path, tmp_path / "lenet")
    return Deployment.read(tmp_path / "lenet")
