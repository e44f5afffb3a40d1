"""Multiply-adds against PyTorch's own counter, which runs the network: it counts two for each multiply-add."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import onnx
import onnx.parser
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from adroit.deploy.measure.counts import ModelCounts, count_model
from tests.user_networks.cases import BY_NAME, Case

# What PyTorch counts; interpolations and ours are multiply-adds too.
PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN"}
NETWORKS = (
    "mobilenet_v3", "convnext", "densenet", "grouped_dilated", "gray_digits", "unet_nearest", "unet_transposed",
    "segmentation_head", "feature_pyramid", "image_and_state", "window_attention", "token_encoder", "norms",
)  # fmt: skip

# Exports of free sizes take twice as long.
FREE = ("densenet", "segmentation_head")


@contextmanager
def _one_by_one() -> Iterator[None]:
    """No operation of PyTorch hides the products that it is made of."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def executed(call: Callable[[], object]) -> int:
    """The floating-point operations of the products that `call` executes."""
    with _one_by_one(), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def products(counted: ModelCounts) -> int:
    return sum(layer.counts.multiply_adds for layer in counted.layers if layer.operator in PRODUCTS)


def exported(case: Case, free: bool) -> onnx.ModelProto:
    """The case's network by PyTorch's exporter alone, of its first size or of free ones."""
    inputs = list(case.inputs)
    dims = tuple(dict.fromkeys(case.free(key), torch.export.Dim.DYNAMIC) for key in inputs)
    program = torch.onnx.export(
        case.network(), tuple(case.tensors(2, 0)), dynamo=True, opset_version=18, input_names=inputs,
        dynamic_shapes=dims if free else None, optimize=not free, verbose=False,
    )  # fmt: skip
    assert program is not None
    return program.model_proto


def check(case: Case, model: onnx.ModelProto, batch: int, size: int) -> None:
    """Nothing is left uncounted, and the products are those that run."""
    tensors = case.tensors(batch, size)
    counted = count_model(model, {key: tuple(x.shape) for key, x in zip(case.inputs, tensors, strict=True)})
    assert counted.uncounted == []
    assert 2 * products(counted) == executed(lambda: case.network()(*tensors)) > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str) -> None:
    check(BY_NAME[name], exported(BY_NAME[name], free=False), 2, 0)


@pytest.mark.parametrize("name", FREE)
def test_networks_of_any_size(name: str) -> None:
    """The count follows the batch and the size."""
    model = exported(BY_NAME[name], free=True)
    for size in (0, 1):
        check(BY_NAME[name], model, 3, size)


def _lstm(x: Tensor, *weights: Tensor) -> object:
    return nn.LSTM(4, 5, bidirectional=True)(x)


def _gru(x: Tensor, *weights: Tensor) -> object:
    return nn.GRU(4, 5)(x)


LAYERS: dict[str, tuple[str, tuple[tuple[int, ...], ...], Callable[..., object]]] = {
    "convolution of a line": (
        "Conv <strides = [2], pads = [1, 1], group = 2> (x, w)",
        ((2, 4, 9), (6, 2, 3)),
        lambda x, w: F.conv1d(x, w, stride=2, padding=1, groups=2),
    ),
    "depthwise, dilated": (
        "Conv <dilations = [2, 1], group = 4> (x, w)",
        ((2, 4, 9, 7), (8, 1, 3, 2)),
        lambda x, w: F.conv2d(x, w, dilation=(2, 1), groups=4),
    ),
    "convolution of a volume": (
        "Conv <strides = [1, 2, 1]> (x, w)",
        ((1, 3, 5, 6, 7), (4, 3, 2, 3, 2)),
        lambda x, w: F.conv3d(x, w, stride=(1, 2, 1)),
    ),
    "transposed, of a line": (
        "ConvTranspose <strides = [2]> (x, w)",
        ((2, 4, 9), (4, 3, 3)),
        lambda x, w: F.conv_transpose1d(x, w, stride=2),
    ),
    "transposed, grouped": (
        "ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1], group = 2> (x, w)",
        ((2, 4, 5, 6), (4, 3, 3, 3)),
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1, groups=2),
    ),
    "transposed, of a volume": (
        "ConvTranspose (x, w)",
        ((1, 2, 3, 4, 5), (2, 3, 2, 2, 2)),
        lambda x, w: F.conv_transpose3d(x, w),
    ),
    "linear": ("Gemm <transB = 1> (x, w)", ((3, 5), (7, 5)), lambda x, w: F.linear(x, w)),
    "product": ("Gemm (x, w)", ((3, 5), (5, 7)), lambda x, w: x @ w),
    "batched product": ("MatMul (x, w)", ((2, 1, 3, 4), (5, 4, 6)), lambda x, w: x @ w),
    "einsum of attention": (
        'Einsum <equation = "bhid,bhjd->bhij"> (x, w)',
        ((2, 3, 4, 5), (2, 3, 6, 5)),
        lambda x, w: torch.einsum("bhid,bhjd->bhij", x, w),
    ),
    "einsum with an ellipsis": (
        'Einsum <equation = "...ij, ...jk -> ...ik"> (x, w)',
        ((2, 3, 4, 5), (2, 3, 5, 6)),
        lambda x, w: torch.einsum("...ij,...jk->...ik", x, w),
    ),
    "einsum without a result": (
        'Einsum <equation = "ij,jk"> (x, w)',
        ((4, 5), (5, 6)),
        lambda x, w: torch.einsum("ij,jk", x, w),
    ),
    "LSTM": (
        'LSTM <hidden_size = 5, direction = "bidirectional"> (x, w, r)',
        ((3, 2, 4), (2, 20, 4), (2, 20, 5)),
        _lstm,
    ),
    "GRU": ("GRU <hidden_size = 5> (x, w, r)", ((3, 2, 4), (1, 15, 4), (1, 15, 5)), _gru),
}


@pytest.mark.parametrize("name", LAYERS)
def test_single_layers(name: str) -> None:
    node, shapes, call = LAYERS[name]
    values = dict(zip("xwr", shapes, strict=False))
    inputs = ", ".join(f"float{list(shape)} {key}" for key, shape in values.items())
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 18]> layer ({inputs}) => (float y) {{ y = {node} }}'
    )
    counted = count_model(model, values)
    assert 2 * products(counted) == executed(lambda: call(*(torch.zeros(shape) for shape in shapes))) > 0
