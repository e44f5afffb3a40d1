"""Random networks give in ONNX Runtime what they give in PyTorch, with all fusing passes, some, and none.

ADROIT_RANDOM_NETWORKS is how many are tried; the same number is the same networks.
"""

from __future__ import annotations

import os

import pytest

from tests.deploy.passes.random_check import faults

NETWORKS = int(os.environ.get("ADROIT_RANDOM_NETWORKS", "20"))
TOGETHER = 10


@pytest.mark.parametrize("first", range(0, NETWORKS, TOGETHER))
def test_random_networks_equal_pytorch(first: int) -> None:
    assert list(faults(range(first, min(first + TOGETHER, NETWORKS)))) == []
