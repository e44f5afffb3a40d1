"""The published anti-aliased networks beside ours, in float64, with the same weights by the same names.

Set ADROIT_OFFICIAL as tests/models/adoption/test_public_code.py says. Nothing of that code is in this repository.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adroit.models.networks.architectures import build_network


def import_public(monkeypatch: pytest.MonkeyPatch, repository: str, package: str, module: str) -> Any:
    """A module of a public repository; its package is not run, and what else it imports is replaced by nothing."""
    folder = os.environ.get("ADROIT_OFFICIAL")
    if folder is None or not (Path(folder) / repository / package).is_dir():
        pytest.skip(f"ADROIT_OFFICIAL names no folder with {repository}")
    root = Path(folder) / repository / package
    empty = {"embed": None, "load_state_dict_from_url": None}
    for name in ("cv2", "IPython", "torchvision", "torchvision.models", "torchvision.models.utils"):
        stub = types.ModuleType(name)
        vars(stub).update(empty)
        monkeypatch.setitem(sys.modules, name, stub)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    stub = types.ModuleType(package)
    stub.__path__ = [str(root)]
    monkeypatch.setitem(sys.modules, package, stub)
    for layers in ("blurpool", "layers.pasa"):  # what the package's own __init__ offers to its modules
        if (root / f"{layers.replace('.', '/')}.py").is_file():
            vars(stub).update(vars(importlib.import_module(f"{package}.{layers}")))
    return importlib.import_module(f"{package}.{module}")


def assert_equal_to_published(official: nn.Module, name: str, arguments: dict[str, Any], size: int) -> None:
    torch.manual_seed(0)
    network = build_network(name, arguments).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    official.double().eval().load_state_dict(network.state_dict())
    x = torch.randn(1, 3, size, size + 7, dtype=torch.float64)
    with torch.no_grad():
        expected, result = official(x), network(x)
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def test_resnet_152(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_public(monkeypatch, "Adaptive-anti-Aliasing", "models_lpf", "resnet_pasa_group_softmax")
    official = module.resnet152(filter_size=3, pasa_group=8, num_classes=10)
    assert_equal_to_published(official, "aa-resnet152", {"classes": 10}, 64)


@pytest.mark.parametrize("pool_only", [True, False])
@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7])
def test_binomial_filters_of_any_size(size: int, pool_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_public(monkeypatch, "antialiased-cnns", "antialiased_cnns", "resnet")
    official = module.resnet18(filter_size=size, pool_only=pool_only, num_classes=10)
    arguments = {"classes": 10, "filter": "binomial", "filter_size": size, "pool_only": pool_only}
    assert_equal_to_published(official, "aa-resnet18", arguments, 128)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_deeplab_on_a_plain_resnet_50(output_stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import_public(monkeypatch, "Adaptive-anti-Aliasing-deeplabv3p", "network", "backbone.resnet")
    for name in ("resnet_gpasa", "resnet_lpf", "resnet_pasa", "resnet_pasa_debug", "resnet_lpf_debug", "mobilenetv2"):
        monkeypatch.setitem(sys.modules, f"network.backbone.{name}", types.ModuleType(name))
        setattr(sys.modules["network.backbone"], name, None)
    module = importlib.import_module("network.modeling")
    official = module.deeplabv3plus_resnet50(num_classes=5, output_stride=output_stride, pretrained_backbone=False)
    arguments = {"classes": 5, "filter": "none", "output_stride": output_stride}
    assert_equal_to_published(official, "aa-deeplabv3plus-resnet50", arguments, 128)
