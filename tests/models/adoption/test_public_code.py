"""The public code itself, in float64, beside what adoption makes of it: whole networks and single layers.

Set ADROIT_OFFICIAL to a folder with clones of these repositories, each under its own name: AdderNet (huawei-noah),
Adaptive-anti-Aliasing (MaureenZOU; its branches as Adaptive-anti-Aliasing-deeplabv3p and -maskrcnn),
antialiased-cnns (adobe), ShiftAddNet (GATECH-EIC), and with the package timm. Nothing of them is in this repository.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adroit.models.adoption import adopt, find_l1_distances
from adroit.models.layers.adder import AdderConv2d
from adroit.models.layers.anti_aliasing import AdaptiveAntiAlias, BinomialFilter

MODULES = {
    "": "models_lpf/layers/pasa.py",
    "-deeplabv3p": "network/layers/downsample.py",
    "-maskrcnn": "maskrcnn_benchmark/layers/downsample.py",
}


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of public code; what its files import and do not use for their layers is replaced by nothing."""
    folder = os.environ.get("ADROIT_OFFICIAL")
    if folder is None:
        pytest.skip("ADROIT_OFFICIAL names no folder with the public repositories")
    for name in ("cv2", "IPython"):
        stub = types.ModuleType(name)
        stub.embed = None  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, stub)
    yield Path(folder)


def _package(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `folder` the package `name` without running its __init__.py, which imports more than is here."""
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    monkeypatch.setitem(sys.modules, name, package)


def _load(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, name, module)
    specification.loader.exec_module(module)
    return module


def _settle(network: nn.Module, size: int) -> nn.Module:
    """Gives norms the statistics of one batch, so that a network in evaluation gives numbers of a usual size."""
    network = network.double().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(2, 3, size, size, dtype=torch.float64))
    return network.eval()


def _assert_same(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    """Compares results and gradients of the input."""
    x.requires_grad_()
    results = [network(x) for network in (ours, theirs)]
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(results[0])
    first, second = (torch.autograd.grad((result * weights).sum(), x) for result in results)
    torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("file", "size", "layers"), [("resnet20", 32, 20), ("resnet50", 32, 52)])
def test_networks_of_addernet(public: Path, monkeypatch: pytest.MonkeyPatch, file: str, size: int, layers: int) -> None:
    adder = _load(public / "AdderNet" / "adder.py", "adder", monkeypatch)
    network = getattr(_load(public / "AdderNet" / f"{file}.py", file, monkeypatch), file)()
    if file == "resnet20":
        network.avgpool = nn.AdaptiveAvgPool2d(1)  # the original's takes images of 32 pixels alone
    network = _settle(network, size)
    adoption = adopt(network)
    assert len(adoption.adopted) == layers and adoption.left == ()
    assert not any(isinstance(module, adder.adder2d) for module in adoption.network.modules())
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(adoption.network(x), network(x), rtol=1e-9, atol=1e-9)
    if file == "resnet20":
        example = (torch.zeros(2, 3, 32, 32, dtype=torch.float64),)
        assert len(find_l1_distances(torch.export.export(network, example))) == layers
        assert find_l1_distances(torch.export.export(adoption.network, example)) == ()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (5, 3, 2), (4, 2, 1)])
def test_layers_of_addernet_with_their_gradients(
    public: Path, monkeypatch: pytest.MonkeyPatch, kernel: int, stride: int, padding: int, bias: bool
) -> None:
    """The gradient of the weight is the repository's own: not the derivative, and normalized."""
    module = _load(public / "AdderNet" / "adder.py", "adder", monkeypatch)
    layer = module.adder2d(5, 7, kernel, stride, padding, bias).double()
    ours = adopt(layer).network
    assert isinstance(ours, AdderConv2d)
    x = torch.randn(2, 5, 12, 11, dtype=torch.float64)
    _assert_same(ours, layer, x)
    for network in (ours, layer):
        network(x.detach()).square().sum().backward()
    assert ours.weight.grad is not None
    torch.testing.assert_close(ours.weight.grad, layer.adder.grad, rtol=1e-10, atol=1e-12)
    if bias:
        assert ours.bias is not None and ours.bias.grad is not None
        torch.testing.assert_close(ours.bias.grad, layer.b.grad, rtol=1e-10, atol=1e-12)


def test_layers_of_shiftaddnet(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its layer without kernels of its own; the other one builds them for a GPU when it is imported."""
    _package("public_shiftaddnet", public / "ShiftAddNet" / "adder", monkeypatch)
    slow = _load(public / "ShiftAddNet" / "adder" / "adder_slow.py", "public_shiftaddnet.adder_slow", monkeypatch)
    layer = slow.adder2d(3, 4, 3, 2, 1).double()
    adoption = adopt(nn.Sequential(layer))
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(adoption.network(x), layer(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("branch", ["", "-deeplabv3p", "-maskrcnn"])
@pytest.mark.parametrize(("size", "stride", "group"), [(3, 2, 8), (3, 1, 2), (5, 2, 4), (7, 2, 1)])
def test_filters_of_adaptive_anti_aliasing(
    public: Path, monkeypatch: pytest.MonkeyPatch, size: int, stride: int, group: int, branch: str
) -> None:
    folder = public / f"Adaptive-anti-Aliasing{branch}"
    if branch == "-maskrcnn":
        frozen = _load(folder / "maskrcnn_benchmark" / "layers" / "batch_norm.py", "frozen", monkeypatch)
        _package("maskrcnn_benchmark", folder / "maskrcnn_benchmark", monkeypatch)
        layers = types.ModuleType("maskrcnn_benchmark.layers")
        layers.FrozenBatchNorm2d = frozen.FrozenBatchNorm2d  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "maskrcnn_benchmark.layers", layers)
        monkeypatch.setitem(sys.modules, "maskrcnn_benchmark.layers.batch_norm", frozen)
    module = _load(folder / MODULES[branch], "public_pasa", monkeypatch)
    layer = module.Downsample_PASA_group_softmax(16, size, stride, group=group).double()
    layer.bn.running_mean.copy_(torch.randn(group * size**2))
    layer.bn.running_var.copy_(torch.rand(group * size**2) + 0.5)
    for training in (False, True):
        ours = adopt(layer.train(training)).network
        assert isinstance(ours, AdaptiveAntiAlias)
        _assert_same(ours, layer, torch.randn(2, 16, 13, 12, dtype=torch.float64))


def test_filters_that_no_operator_expresses_are_left(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = public / "Adaptive-anti-Aliasing-deeplabv3p" / MODULES["-deeplabv3p"]
    module = _load(file, "public_pasa", monkeypatch)
    layers = [module.Downsample_PASA(8, 3, 2)]
    layers += [module.Downsample_PASA_group_softmax(8, 3, 2, pad) for pad in ("replicate", "zero")]
    adoption = adopt(nn.Sequential(*layers))
    assert len(adoption.left) == 3 and adoption.adopted == ()


def test_a_whole_network_of_adaptive_anti_aliasing(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = public / "Adaptive-anti-Aliasing"
    monkeypatch.syspath_prepend(folder)
    module = importlib.import_module("models_lpf.resnet_pasa_group_softmax")
    network = _settle(module.resnet18(filter_size=3, pasa_group=2), 64)
    adoption = adopt(network)
    assert len(adoption.adopted) == 7 and adoption.left == ()
    _assert_same(adoption.network, network, torch.randn(2, 3, 64, 64, dtype=torch.float64))


@pytest.mark.parametrize("pad_type", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("size", range(1, 8))
def test_blur_pools_of_antialiased_cnns(
    public: Path, monkeypatch: pytest.MonkeyPatch, size: int, pad_type: str
) -> None:
    module = _load(public / "antialiased-cnns" / "antialiased_cnns" / "blurpool.py", "public_blurpool", monkeypatch)
    for stride in (1, 2, 3):
        for offset in (0, 1):
            layer = module.BlurPool(4, pad_type, size, stride, offset).double()
            ours = adopt(layer).network
            assert isinstance(ours, BinomialFilter)
            x = torch.randn(2, 4, 13, 16, dtype=torch.float64)
            assert torch.equal(ours(x), layer(x))


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121", "vgg11_bn", "resnet18"])
def test_whole_networks_of_antialiased_cnns(public: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.syspath_prepend(public / "antialiased-cnns")
    network = getattr(importlib.import_module("antialiased_cnns"), name)()
    network = network.double().eval()
    pools = [module for module in network.modules() if type(module).__name__ == "BlurPool"]
    adoption = adopt(network)
    assert len(adoption.adopted) == len(pools) > 0 and adoption.left == ()
    x = torch.randn(1, 3, 96, 96, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(adoption.network(x), network(x))


@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
@pytest.mark.parametrize(("size", "stride"), [(3, 2), (4, 2), (5, 2), (3, 3), (3, 1)])
def test_blur_pools_of_timm(
    public: Path, monkeypatch: pytest.MonkeyPatch, size: int, stride: int, pad_mode: str
) -> None:
    if not (public / "timm").is_dir():
        pytest.skip(f"{public / 'timm'} is not there")
    _package("public_timm", public / "timm" / "layers", monkeypatch)
    module = importlib.import_module("public_timm.blur_pool")
    for channels in (None, 6):
        layer = module.BlurPool2d(channels, size, stride, pad_mode).double()
        ours = adopt(layer).network
        assert isinstance(ours, BinomialFilter)
        x = torch.randn(2, 6, 13, 12, dtype=torch.float64)
        assert torch.equal(ours(x), layer(x))
