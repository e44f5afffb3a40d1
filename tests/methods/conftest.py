"""A pretrained network that the methods learn from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.methods.recipes import tiny, trained


@pytest.fixture(scope="session")
def rotnet(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny RotNet; do not change it."""
    folder = tmp_path_factory.mktemp("rotnet") / "checkpoint"
    trained(tiny(images, {"rotnet": {}}, classes=4), folder)
    return folder


@pytest.fixture(scope="session")
def robust(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny adversarial training; do not change it."""
    folder = tmp_path_factory.mktemp("robust") / "checkpoint"
    trained(tiny(images, {"adversarial_training": {"steps": 1}}), folder)
    return folder
