"""Faults that an export of an anti-aliased network could have: each leaves the tolerance, and its layer is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import export_deployment
from benchmarks.anti_aliased_parity import Variant, make_checkpoint, photographs
from tests.deploy.parity.test_tolerance import _attribute, _edit, _first_wrong


def _edges_repeated(model: onnx.ModelProto) -> None:
    """Zero-th order padding in front of one prediction, where the network reflects."""
    (pad,) = [n for n in model.graph.node if n.name == "layer2.0.conv2.0.conv/Pad"]
    (mode,) = [a for a in pad.attribute if a.name == "mode"]
    assert mode.s == b"reflect"
    mode.s = b"edge"


def _groups_swapped(weight: np.ndarray) -> np.ndarray:
    return np.concatenate([weight[9:], weight[:9]])


def _taps_transposed(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(2, 3, 3, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


PREDICTION = "layer2.0.conv2.0.bn.folded_weight"
FAULTS: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "a softmax for each group": (_attribute("layer2.0.conv2.0", "joint_softmax", [0]), "layer2.0.conv2.0"),
    "edges repeated": (_edges_repeated, "layer2.0.conv2.0.bn"),
    "groups swapped": (_edit(PREDICTION, _groups_swapped), "layer2.0.conv2.0.bn"),
    "taps transposed": (_edit(PREDICTION, _taps_transposed), "layer2.0.conv2.0.bn"),
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    folder = tmp_path_factory.mktemp("faults")
    variant = Variant("aa-cifar-resnet20", {})
    return export_deployment(make_checkpoint(variant, folder / "checkpoint", (40, 40)), folder / "repository")


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_a_fault_is_found_and_its_layer_named(fault: str, deployment: Deployment) -> None:
    _, x = next(photographs(4).batches(deployment.info.preprocessing, 4))
    model = deployment.load_model()
    change, expected = FAULTS.get(fault, (lambda _: None, None))
    change(model)
    used, first = _first_wrong(model, deployment, torch.from_numpy(x))
    assert first == expected
    assert (used > 1) == bool(fault), used
