"""Captured networks for the tests of references."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from adroit.deploy.reference.capture import CapturedInput, capture
from adroit.deploy.reference.interpret import StoredProgram
from adroit.deploy.reference.store import PROGRAM, write_reference
from tests.deploy.reference.stored import Json, Small


def capture_image(network: nn.Module, example: Tensor | None = None) -> StoredProgram:
    """Captures a network of one image of any size; 2 x 3 x 16 x 20 unless given."""
    x = torch.zeros(2, 3, 16, 20) if example is None else example
    return capture(network, [CapturedInput("image", x, {0: "batch", 2: "height", 3: "width"})])


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "reference"
    image = CapturedInput("image", torch.zeros(2, 3, 8, 8), {0: "batch", 2: "height", 3: "width"})
    write_reference(folder, capture(Small(), [image]))
    return folder


@pytest.fixture
def program(stored: Path) -> Json:
    value: Json = json.loads((stored / PROGRAM).read_text())
    return value
