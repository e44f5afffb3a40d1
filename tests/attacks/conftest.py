"""Scenes of the attacks; the routed deployments of tests/deploy/routing."""

from __future__ import annotations

from pathlib import Path

import pytest

from adroit.deploy.deployment.deployment import Deployment
from tests.attacks.scene import Scene
from tests.deploy.routing.conftest import checkpoint, deployments, network, options

__all__ = ["checkpoint", "deployments", "network", "options", "scene"]


@pytest.fixture
def scene(tmp_path: Path, lenet_checkpoint: Path, lenet_deployment: Deployment, images: Path) -> Scene:
    folder = tmp_path / "scene"
    folder.mkdir()
    return Scene(folder, lenet_checkpoint, lenet_deployment.path, images)
