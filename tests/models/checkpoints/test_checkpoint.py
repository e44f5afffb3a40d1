"""Checkpoints: old ones are read, and a wrong value of config.json is named with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import CONFIG, CheckpointConfig, load_checkpoint, save_checkpoint
from adroit.models.data.preprocessing import IMAGENET, ROUTED
from adroit.models.networks.architectures import architecture_named
from tests.models.old_files import OLD_FILES


@pytest.mark.parametrize(
    ("name", "architecture", "arguments"),
    [
        ("lenet", "adder-lenet5-bn", {"kind": "adder"}),
        ("imagenet", "aa-resnet18", {}),
        ("routed", "dynamic-small", {"depth": 3, "width": 4, "gate": "small"}),
    ],
)
def test_configs_of_version_0_1_are_read(name: str, architecture: str, arguments: dict[str, Any]) -> None:
    config = CheckpointConfig.read(OLD_FILES / name)
    assert config.architecture == architecture and config.arguments == arguments
    assert config.preprocessing == architecture_named(architecture).preprocessing
    assert list(config.labels) == (list("0123456789") if name == "lenet" else [])
    assert config.source == {"recipe_sha256": "00", "data": {"name": "digits"}, "seed": 0, "accuracy": 0.5}


def test_a_checkpoint_of_version_0_1_is_loaded_and_written_in_todays_words(tmp_path: Path) -> None:
    network, config = load_checkpoint(OLD_FILES / "routed")
    save_checkpoint(tmp_path / "new", network, config)
    again, read = load_checkpoint(tmp_path / "new")
    assert read == config and read.preprocessing == ROUTED
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)
    written = json.loads((tmp_path / "new" / CONFIG).read_text())
    assert list(written) == ["format", "architecture", "arguments", "preprocessing", "labels", "source"]
    assert written["preprocessing"]["std"] == [1.0, 1.0, 1.0] and "deviation" not in written["preprocessing"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, this adroit reads 1"),
        ({"architecture": 3}, "architecture must be a string, and is 3"),
        ({"architecture": "aa-resnet19"}, "did you mean aa-resnet1?"),
        ({"labels": [1]}, r"labels\[0\] must be a string, and is 1"),
        ({"arguments": []}, r"arguments must be a table, and is \[\]"),
        ({"preprocessing": {"mean": [0.0]}}, "preprocessing.mean must have a value for each of 3 channels, and has 1"),
        ({"preprocessing": {"std": [1.0, 0.0, 1.0]}}, "preprocessing.std and divisor divide: none may be 0"),
        ({"preprocessing": {"resize": "256"}}, r"preprocessing.resize must be \[height, width\] in pixels, the sh"),
        ({"preprocessing": {"resize": 0}}, "preprocessing.resize must be at least 1, and is 0"),
        ({"preprocessing": {"sdt": [1.0, 1.0, 1.0]}}, "did you mean preprocessing.std?"),
        ({"preprocessing": {"channels": "rbg"}}, "preprocessing.channels must be one of rgb, bgr, gray, and is 'rbg'"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    values = CheckpointConfig("aa-resnet18", IMAGENET).to_json()
    (tmp_path / CONFIG).write_text(json.dumps({"format": 1, **values, **change}))
    with pytest.raises(UsageError, match=message):
        CheckpointConfig.read(tmp_path)
    del values["architecture"]
    (tmp_path / CONFIG).write_text(json.dumps({"format": 1, **values}))
    with pytest.raises(UsageError, match="architecture is missing"):
        CheckpointConfig.read(tmp_path)
