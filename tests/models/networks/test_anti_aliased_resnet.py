"""Anti-aliased residual networks: layout, sizes, and the filter layer in training and evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.layers.anti_aliasing import AdaptiveAntiAlias, BinomialFilter, FilterChoice
from adroit.models.networks.architectures import architecture_named, build_network

# Parameters and tensors of the state, of the official code (papers: arXiv 2008.09604).
OFFICIAL = [
    ("aa-resnet18", {}, 11_917_860, 164),
    ("aa-resnet50", {}, 27_341_336, 362),
    ("aa-resnet101", {}, 46_333_464, 668),
    ("aa-resnet101", {"filter_size": 5}, 58_311_960, 668),
    ("aa-resnet152", {}, 61_977_112, 974),
]


@pytest.mark.parametrize(("name", "arguments", "parameters", "tensors"), OFFICIAL)
def test_parameter_and_tensor_counts_are_the_official_ones(
    name: str, arguments: dict[str, Any], parameters: int, tensors: int
) -> None:
    with torch.device("meta"):
        network = build_network(name, arguments)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == tensors


def shapes_of(name: str, **arguments: Any) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(t.shape) for key, t in build_network(name, arguments).state_dict().items()}


def test_tensors_of_resnet101_have_the_official_names_and_shapes() -> None:
    shapes = shapes_of("aa-resnet101")
    expected = {
        "conv1.weight": (64, 3, 7, 7),
        "maxpool.1.conv.weight": (72, 64, 3, 3),
        "maxpool.1.bn.running_var": (72,),
        "layer1.0.conv3.weight": (256, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.weight": (256,),
        "layer3.1.conv3.weight": (1024, 256, 1, 1),
        "fc.weight": (1000, 2048),
        "fc.bias": (1000,),
    }
    for stage, width in ((2, 128), (3, 256), (4, 512)):
        block = f"layer{stage}.0"
        expected |= {
            f"{block}.conv3.0.conv.weight": (72, width, 3, 3),
            f"{block}.conv3.0.bn.bias": (72,),
            f"{block}.conv3.1.weight": (4 * width, width, 1, 1),
            f"{block}.downsample.0.conv.weight": (72, 2 * width, 3, 3),
            f"{block}.downsample.0.bn.num_batches_tracked": (),
            f"{block}.downsample.1.weight": (4 * width, 2 * width, 1, 1),
            f"{block}.downsample.2.running_mean": (4 * width,),
        }
    assert {key: shapes.get(key) for key in expected} == expected


def test_basic_blocks_filter_before_their_second_convolution() -> None:
    shapes = shapes_of("aa-resnet18")
    assert shapes["layer2.0.conv2.0.conv.weight"] == (18, 128, 3, 3)
    assert shapes["layer2.0.conv2.1.weight"] == (128, 128, 3, 3)
    assert shapes["layer2.0.downsample.0.conv.weight"] == (18, 64, 3, 3)
    assert shapes["layer2.1.conv2.weight"] == (128, 128, 3, 3)


@pytest.mark.parametrize(
    ("name", "parameters", "tensors"), [("aa-resnet18", 11_689_512, 122), ("aa-resnet50", 25_557_032, 320)]
)
def test_without_filter_names_and_counts_are_torchvisions(name: str, parameters: int, tensors: int) -> None:
    with torch.device("meta"):
        network = build_network(name, {"filter": "none"})
    state = network.state_dict()
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(state) == tensors
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.weight", "layer2.0.conv2.weight"} <= set(state)
    assert not any("maxpool" in key for key in state)


def test_the_binomial_network_is_the_adaptive_one_with_buffers_in_its_filters_places() -> None:
    adaptive, binomial = shapes_of("aa-resnet50"), shapes_of("aa-resnet50", filter="binomial")
    places = {key.removesuffix(".conv.weight") for key in adaptive if key.endswith(".conv.weight")}
    assert len(places) == 7
    assert set(binomial) - set(adaptive) == {f"{place}.filt" for place in places}
    assert binomial["maxpool.1.filt"] == (64, 1, 3, 3)


def test_the_first_convolution_is_filtered_too_when_told() -> None:
    shapes = shapes_of("aa-resnet18", pool_only=False)
    assert {key for key in shapes if key.startswith("maxpool") and key.endswith("conv.weight")} == {
        "maxpool.0.conv.weight",
        "maxpool.2.conv.weight",
    }
    network = build_network("aa-resnet18", {"pool_only": False, "classes": 10}).eval()
    with torch.no_grad():
        assert network.features(torch.randn(1, 3, 64, 96))[0].shape == (1, 64, 16, 24)


@pytest.mark.parametrize("filter", ["adaptive", "binomial", "none"])
@pytest.mark.parametrize("size", [(32, 32), (40, 56), (33, 47)])
def test_maps_have_the_same_sizes_with_every_filter(filter: str, size: tuple[int, int]) -> None:
    network = build_network("aa-cifar-resnet20", {"filter": filter}).eval()
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        maps = [tuple(m.shape[1:]) for m in network.features(x)]
        assert network(x).shape == (2, 10)
    h, w = size
    assert maps == [(16, h, w), (32, -(-h // 2), -(-w // 2)), (64, -(-h // 4), -(-w // 4))]


@pytest.mark.parametrize("name", ["aa-resnet18", "aa-resnet34", "aa-resnet50"])
@pytest.mark.parametrize("size", [(64, 64), (97, 70)])
def test_imagenet_networks_give_logits_at_any_size(name: str, size: tuple[int, int]) -> None:
    """Each stage but the first halves, rounding up; the pooling loses a pixel first, so it rounds down."""
    network = build_network(name, {"classes": 7}).eval()
    with torch.no_grad():
        maps = network.features(torch.randn(1, 3, *size))
        assert network(torch.randn(2, 3, *size)).shape == (2, 7)
    pooled = tuple((s + 1) // 2 // 2 for s in size)
    assert tuple(maps[0].shape[2:]) == pooled
    assert tuple(maps[-1].shape[2:]) == tuple(-(-s // 8) for s in pooled)


def run_in_statistics(layer: nn.Module, x: torch.Tensor) -> None:
    """Gives the batch norms the statistics of x exactly."""
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.normal_(module.bias)
    with torch.no_grad():
        layer.train()(x)


@pytest.mark.parametrize("filter_size", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_prediction_at_kept_positions_equals_full_resolution_then_subsampling(filter_size: int, stride: int) -> None:
    """Evaluation predicts where the stride keeps; the reference filters everything and then drops, as published."""
    torch.manual_seed(0)
    layer = AdaptiveAntiAlias(8, filter_size, stride, 4).double()
    x = torch.randn(2, 8, 15, 18, dtype=torch.float64)
    run_in_statistics(layer, x)
    layer.eval()
    padded = functional.pad(x, [filter_size // 2] * 4, mode="reflect")
    weights = layer.bn(functional.conv2d(padded, layer.conv.weight)).softmax(1).view(2, 4, 1, filter_size**2, 15, 18)
    windows = functional.unfold(padded, filter_size).view(2, 4, 2, filter_size**2, 15, 18)
    full = (windows * weights).sum(3).view(2, 8, 15, 18)
    torch.testing.assert_close(layer(x), full[:, :, ::stride, ::stride], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_training_takes_statistics_over_all_positions(stride: int) -> None:
    torch.manual_seed(0)
    layer = AdaptiveAntiAlias(4, 3, stride, 2).double()
    x = torch.randn(3, 4, 9, 10, dtype=torch.float64)
    run_in_statistics(layer, x)
    dense = functional.conv2d(functional.pad(x, [1] * 4, mode="reflect"), layer.conv.weight)
    torch.testing.assert_close(layer.bn.running_mean, dense.mean((0, 2, 3)))
    torch.testing.assert_close(layer.bn.running_var, dense.var((0, 2, 3)))


def test_training_and_evaluation_agree_when_the_statistics_do() -> None:
    torch.manual_seed(0)
    layer = AdaptiveAntiAlias(4, 3, 2, 2).double()
    x = torch.randn(3, 4, 12, 12, dtype=torch.float64)
    run_in_statistics(layer, x)
    trained = layer.train()(x)
    # Running variance is the unbiased one, training uses the biased one: take the factor out.
    layer.bn.running_var *= 1 - 1 / (3 * 12 * 12)
    torch.testing.assert_close(trained, layer.eval()(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["binomial", "adaptive"])
def test_a_constant_map_stays_constant(kind: str) -> None:
    """Per-group softmax and binomial filters sum to 1, and reflection adds no border."""
    choice = FilterChoice("binomial" if kind == "binomial" else "adaptive", 5, 2, joint_softmax=False)
    layer = choice.layer(6, 2).eval()
    torch.testing.assert_close(layer(torch.full((1, 6, 11, 8), 3.0)), torch.full((1, 6, 6, 4), 3.0))


@pytest.mark.parametrize("filter_size", [3, 5, 7])
def test_the_binomial_filter_is_the_normalized_power_of_a_box(filter_size: int) -> None:
    row = torch.ones(1, dtype=torch.float64)
    for _ in range(filter_size - 1):
        row = functional.conv1d(row[None, None], torch.full((1, 1, 2), 0.5, dtype=torch.float64), padding=1).flatten()
    layer = BinomialFilter(3, filter_size, 1)
    torch.testing.assert_close(layer.filt, torch.outer(row, row).float().repeat(3, 1, 1, 1))


def test_a_binomial_network_is_less_sensitive_to_a_shift_than_a_plain_one() -> None:
    """What the filters are for, on the stride itself: a checkerboard vanishes instead of changing its sign."""
    board = torch.ones(1, 1, 8, 8)
    board[..., ::2, 1::2] = board[..., 1::2, ::2] = -1.0
    plain, filtered = nn.Identity(), BinomialFilter(1, 3, 2)
    assert torch.equal(plain(board)[..., ::2, ::2], -plain(board.roll(1, 3))[..., ::2, ::2])
    torch.testing.assert_close(filtered(board), torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize("filter", ["adaptive", "binomial", "none"])
def test_every_module_runs_once(filter: str) -> None:
    """So that every intermediate has one module path."""
    network = build_network("aa-cifar-resnet20", {"filter": filter}).eval()
    calls: dict[str, int] = {}
    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1}))
    network(torch.randn(1, 3, 32, 32))
    leaves = {name for name, module in network.named_modules() if not list(module.children())}
    assert calls == dict.fromkeys(leaves, 1)


def test_a_training_step_moves_the_prediction() -> None:
    torch.manual_seed(0)
    network = build_network("aa-cifar-resnet20").train()
    functional.cross_entropy(network(torch.randn(4, 3, 32, 32)), torch.tensor([0, 1, 2, 3])).backward()
    missing = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filter": "median"}, "adaptive, binomial or none"),
        ({"filter_size": 4}, "3, 5 or 7"),
        ({"filter": "binomial", "filter_size": 8}, "2 to 7"),
        ({"groups": 3}, "do not divide"),
        ({"groups": 0}, "at least 1"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_network("aa-cifar-resnet20", arguments)


def test_a_map_smaller_than_the_filter_is_refused() -> None:
    with pytest.raises(UsageError, match="too small for a filter of 7"):
        AdaptiveAntiAlias(4, 7, 2, 1).eval()(torch.randn(1, 4, 3, 9))


def test_architectures_say_their_task() -> None:
    assert architecture_named("aa-resnet50").task == "classification"
    assert architecture_named("aa-deeplabv3plus-resnet101").task == "segmentation"
