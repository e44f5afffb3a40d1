"""A small description, and a deployment that has nothing but it, for tests of reading and writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adroit.deploy.deployment.budget_table import BudgetCost, BudgetTable, Setting
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.latency_table import LatencyTable, Speed
from adroit.deploy.deployment.records import CheckpointRecord, ModelRecord, RoutingRecord
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.deployment.writer import write_description
from adroit.models.data.preprocessing import Preprocessing


def small_description(**changes: Any) -> Description:
    """The description of a routed network that does not exist, but for `changes`."""
    image = TensorSpec("image", "float32", ("batch", 3, "height", "width"))
    values: dict[str, Any] = {
        "name": "small",
        "architecture": "dynamic-small",
        "task": "segmentation",
        "form": "operators",
        "routing": RoutingRecord("if", "small", 3, 8),
        "inputs": (image, TensorSpec("gate_threshold", "float32", ("thresholds",))),
        "outputs": (TensorSpec("logits", "float32", ("batch", 5, "height", "width")),),
        "input_size": (128, 160),
        "preprocessing": Preprocessing(),
        "labels": (),
        "operators": {},
        "checkpoint": CheckpointRecord("c" * 64, {}),
        "model": ModelRecord("1/model.onnx", "a" * 64),
        "tools": {"adroit": "0"},
    }
    return Description(**{**values, **changes})


def small_deployment(folder: Path, **changes: Any) -> Deployment:
    """A new deployment in `folder` that has a description only."""
    folder.mkdir()
    deployment = Deployment(folder, small_description(**changes))
    write_description(folder, deployment.info)
    return deployment


def budget_table(images: int = 1) -> BudgetTable:
    """A table of two settings, calibrated on `images`."""
    settings = [Setting(threshold, *[BudgetCost(c, c)] * 3, 1.0, 1) for threshold, c in ((0.0, 0.4), (1.0, 0.1))]
    return BudgetTable("c" * 64, images, (128, 160), {}, tuple(settings))


def latency_table(milliseconds: float = 1.0) -> LatencyTable:
    """A table of one part."""
    return LatencyTable((128, 160), {"always": milliseconds}, 0.0, Speed(1.0, 0.0), "a" * 64, {}, {})
