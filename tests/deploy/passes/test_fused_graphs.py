"""Which nodes remain of named patterns, exported from PyTorch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

import onnx
import pytest
import torch
from torch import Tensor, nn

from adroit.deploy.export.graph import finish, fuse
from adroit.deploy.export.trace import trace
from adroit.nn import AdderConv2d
from tests.deploy.passes.random_layers import Apply, Branching, Flat

# Networks of an image [N,4,8,8], and how many nodes of which operators remain.
Case = tuple[Callable[[], nn.Module], dict[str, int]]


class Chain(nn.Module):
    """Layers by name, put together by a function of them and the image."""

    def __init__(self, together: Callable[..., Tensor | tuple[Tensor, ...]], **layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.together = nn.ModuleDict(layers), together

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.together(self.layers, x)


def adder(bias: bool = False, stride: int = 1) -> AdderConv2d:
    return AdderConv2d(4, 4, 3, stride, 1, bias=bias)


def conv(**options: int | bool) -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, padding=1, **options)


def norm(**options: bool) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(4, **options)
    assert made.running_mean is not None and made.running_var is not None
    nn.init.normal_(made.running_mean)
    nn.init.uniform_(made.running_var, 0.5, 2.0)
    return made


def scaled(shape: tuple[int, ...]) -> nn.Module:
    return Apply(lambda x: x * torch.linspace(0.5, 1.5, 4).reshape(shape))


ONE_ADDER = {"AdderConv2d": 1}
ONE_SUM = {"AdderConv2dAdd": 1}
CASES: dict[str, Case] = {
    # Folded into the layer before.
    "conv, norm": (lambda: nn.Sequential(conv(), norm()), {"Conv": 1}),
    "conv without bias, norm": (lambda: nn.Sequential(conv(bias=False), norm()), {"Conv": 1}),
    "conv without bias": (lambda: nn.Sequential(conv(bias=False)), {"Conv": 1}),
    "grouped conv, norm": (lambda: nn.Sequential(conv(groups=2), norm()), {"Conv": 1}),
    "conv, norm without factors": (lambda: nn.Sequential(conv(), norm(affine=False)), {"Conv": 1}),
    "conv, two norms": (lambda: nn.Sequential(conv(), norm(), norm()), {"Conv": 1}),
    "conv, norm, factors": (lambda: nn.Sequential(conv(), norm(), scaled((1, 4, 1, 1))), {"Conv": 1}),
    "transposed conv, norm": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 2, 2), norm()),
        {"ConvTranspose": 1},
    ),
    "grouped transposed conv, norm": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 2, 2, groups=2), norm()),
        {"ConvTranspose": 1},
    ),
    "conv 1d, norm 1d": (lambda: Flat(4, 1, bias=True), {"Reshape": 2, "Conv": 1}),
    "conv 3d, norm 3d": (lambda: Flat(4, 3, bias=False), {"Unsqueeze": 1, "Conv": 1, "Reshape": 1}),
    "linear, norm 1d, factor": (
        lambda: nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4), nn.BatchNorm1d(4), Apply(lambda x: x * 0.1)
        ),
        {"ReduceMean": 1, "Reshape": 1, "Gemm": 1},
    ),
    "adder, norm": (lambda: nn.Sequential(adder(), norm()), ONE_ADDER),
    "adder, bias": (lambda: nn.Sequential(adder(bias=True)), ONE_ADDER),
    "adder, bias, norm": (lambda: nn.Sequential(adder(bias=True), norm()), ONE_ADDER),
    "adder, bias, norm, factors, relu": (
        lambda: nn.Sequential(adder(bias=True), norm(), scaled((4, 1, 1)), nn.ReLU()),
        ONE_ADDER,
    ),
    "adder, clamp from below": (lambda: nn.Sequential(adder(), Apply(lambda x: x.clamp(min=0))), ONE_ADDER),
    "adder, norm, residual, relu": (
        lambda: Chain(lambda m, x: (m["n"](m["a"](x)) + x).relu(), a=adder(), n=norm()),
        ONE_SUM,
    ),
    "residual, then adder, norm": (lambda: Chain(lambda m, x: x + m["n"](m["a"](x)), a=adder(), n=norm()), ONE_SUM),
    "two adders in a sum": (
        lambda: Chain(lambda m, x: (m["a"](x) + m["b"](x)).relu(), a=adder(stride=2), b=adder(stride=2)),
        {"AdderConv2d": 1, "AdderConv2dAdd": 1},
    ),
    "adder called twice, norm": (
        lambda: Chain(lambda m, x: m["n"](m["a"](m["n"](m["a"](x)))), a=adder(), n=norm()),
        {"AdderConv2d": 2},
    ),
    "conv called twice, norm": (
        lambda: Chain(lambda m, x: m["n"](m["c"](m["n"](m["c"](x)))), c=conv(), n=norm()),
        {"Conv": 2},
    ),
    "conv called twice, two norms": (
        lambda: Chain(lambda m, x: m["o"](m["c"](m["n"](m["c"](x)))), c=conv(), n=norm(), o=norm()),
        {"Conv": 2},
    ),
    "branches": (
        lambda: Chain(lambda m, x: m["b"](x, x), b=Branching(4, then=True)),
        {"Mul": 1, "ReduceMean": 1, "Squeeze": 1, "Greater": 1, "If": 1, "Add": 1},
    ),
    "relu read by several": (
        lambda: Chain(lambda m, x: (y := m["a"](x).relu()) + m["c"](y), a=adder(), c=conv()),
        {"AdderConv2d": 1, "Conv": 1, "Add": 1},
    ),
    # Left as they are.
    "norm, relu, conv": (
        lambda: nn.Sequential(norm(), nn.ReLU(), conv()),
        {"BatchNormalization": 1, "Relu": 1, "Conv": 1},
    ),
    "adder, relu6": (lambda: nn.Sequential(adder(), nn.ReLU6()), {"AdderConv2d": 1, "Clip": 1}),
    "adder, relu, norm": (
        lambda: nn.Sequential(adder(), nn.ReLU(), norm()),
        {"AdderConv2d": 1, "BatchNormalization": 1},
    ),
    "adder read by two norms": (
        lambda: Chain(lambda m, x: m["n"](y := m["a"](x)) - m["o"](y), a=adder(), n=norm(), o=norm()),
        {"AdderConv2d": 1, "BatchNormalization": 2, "Sub": 1},
    ),
    "adder that is an output": (
        lambda: Chain(lambda m, x: (y := m["a"](x), m["n"](y)), a=adder(), n=norm()),
        {"AdderConv2d": 1, "BatchNormalization": 1},
    ),
    "adder, itself added": (
        lambda: Chain(lambda m, x: (y := m["a"](x)) + y, a=adder()),
        {"AdderConv2d": 1, "Add": 1},
    ),
    "adder, residual that depends on it": (
        lambda: Chain(lambda m, x: (y := m["a"](x)) + m["c"](y), a=adder(), c=conv()),
        {"AdderConv2d": 1, "Conv": 1, "Add": 1},
    ),
    "adder, residual of one pixel": (
        lambda: Chain(lambda m, x: m["a"](x) + x.mean((2, 3), keepdim=True), a=adder()),
        {"AdderConv2d": 1, "ReduceMean": 1, "Add": 1},
    ),
    "adder, residual of one channel": (
        lambda: Chain(lambda m, x: m["a"](x) + x.mean(1, keepdim=True), a=adder()),
        {"AdderConv2d": 1, "ReduceMean": 1, "Add": 1},
    ),
    "adder, constants by column": (
        lambda: nn.Sequential(AdderConv2d(4, 8, 3, padding=1), Apply(lambda x: x * torch.arange(1.0, 9.0))),
        {"AdderConv2d": 1, "Mul": 1},
    ),
    "one channel, constants that make four": (
        lambda: nn.Sequential(AdderConv2d(4, 1, 3, padding=1), scaled((4, 1, 1))),
        {"AdderConv2d": 1, "Mul": 1},
    ),
}


class Patterns(nn.Module):
    """Every pattern on an image of its own, so that no two share a node: one export for all, which takes seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.patterns = nn.ModuleList(build() for build, _ in CASES.values())
        self.images = nn.ModuleList(Apply(lambda x, n=number: x + n) for number in range(len(CASES)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []
        for image, pattern in zip(self.images, self.patterns, strict=True):
            given = pattern(image(x))
            outputs += given if isinstance(given, tuple) else [given]
        return tuple(outputs)


@pytest.fixture(scope="module")
def remaining() -> dict[str, list[onnx.NodeProto]]:
    """The nodes of each pattern after all passes."""
    torch.manual_seed(0)
    network = Patterns().eval()
    image = torch.zeros(2, 4, 8, 8)
    names = [f"output{i}" for i in range(len(network(image)))]
    model = trace(network, image, ["image"], names, {"x": {0: "batch"}})
    fuse(model.graph)
    nodes: dict[str, list[onnx.NodeProto]] = {pattern: [] for pattern in CASES}
    for node in finish(model).graph.node:
        match = re.match(r"patterns\.(\d+)", node.name)
        if match:
            nodes[list(CASES)[int(match[1])]].append(node)
    return nodes


def kinds(nodes: Iterable[onnx.NodeProto]) -> Counter[str]:
    return Counter(node.op_type for node in nodes)


@pytest.mark.parametrize("pattern", CASES)
def test_what_remains_of_a_pattern(pattern: str, remaining: dict[str, list[onnx.NodeProto]]) -> None:
    assert kinds(remaining[pattern]) == CASES[pattern][1]


def test_a_bias_of_zeros_is_not_stored(remaining: dict[str, list[onnx.NodeProto]]) -> None:
    assert [len(node.input) for node in remaining["conv without bias"]] == [2]


def test_a_weight_is_stored_once_where_two_calls_have_one_norm(remaining: dict[str, list[onnx.NodeProto]]) -> None:
    first, second = remaining["conv called twice, norm"]
    assert first.input[1:] == second.input[1:]


def test_a_weight_is_stored_twice_where_two_calls_have_two_norms(remaining: dict[str, list[onnx.NodeProto]]) -> None:
    first, second = remaining["conv called twice, two norms"]
    assert first.input[1] != second.input[1]


def test_branches_are_fused_in_their_place(remaining: dict[str, list[onnx.NodeProto]]) -> None:
    (branching,) = [node for node in remaining["branches"] if node.op_type == "If"]
    found = {attribute.name: kinds(attribute.g.node) for attribute in branching.attribute}
    assert found == {"then_branch": {"AdderConv2dAdd": 1}, "else_branch": {"Conv": 1, "Sub": 1}}
