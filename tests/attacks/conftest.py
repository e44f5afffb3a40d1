"""Scenes of the attacks; the routed deployments of tests/routes."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.entry import Entry
from tests.attacks.scene import Scene
from tests.routes.conftest import checkpoint, entries, network, options

__all__ = ["checkpoint", "entries", "network", "options", "scene"]


@pytest.fixture
def scene(tmp_path: Path, lenet_checkpoint: Path, lenet_entry: Entry, images: Path) -> Scene:
    folder = tmp_path / "scene"
    folder.mkdir()
    return Scene(folder, lenet_checkpoint, lenet_entry.path, images)
