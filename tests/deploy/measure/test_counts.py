"""Operation counts: published totals, and the formulas on a case small enough to count by hand."""

from __future__ import annotations

import onnx
import pytest

from adroit.deploy.export.graph import export_graph
from adroit.deploy.measure.counts import count_model, total_counts
from adroit.deploy.operators.schemas import register_schemas
from adroit.errors import UnsupportedModel
from adroit.models.networks.architectures import build_network
from adroit.models.operators.counts import OperationCounts


def test_the_plain_resnet18_has_the_published_multiply_adds() -> None:
    """1.814 G at 224 x 224, as torchvision documents for its weights."""
    network = build_network("aa-resnet18", {"filter": "none"}).eval()
    layers = count_model(export_graph(network, 3, (64, 64), True), {"image": (1, 3, 224, 224)})
    assert total_counts(layers).multiply_adds == 1_814_073_344


def one_node(text: str) -> onnx.ModelProto:
    register_schemas()
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 18, "adroit": 1]> {text}')


def test_an_adaptive_filter_by_hand() -> None:
    """2 groups of 3 x 3 on 4 channels, 5 x 6 positions to 3 x 3: 36 results of 9 taps, 162 weights."""
    model = one_node("""filter (float[1, 4, 5, 6] x, float[1, 18, 3, 3] logits) => (float[1, 4, 3, 3] y) {
        y = adroit.AdaptiveFilter <kernel_size = 3, stride = 2, groups = 2, joint_softmax = 1> (x, logits)
    }""")
    layers = count_model(model, {"x": (1, 4, 5, 6), "logits": (1, 18, 3, 3)})
    assert [layer.counts for layer in layers] == [OperationCounts(36 * 9, 0, 4 * 162, 162)]


def test_a_routing_gate_by_hand() -> None:
    """4 channels of 6 x 6 to 2 hidden ones to 3 paths."""
    model = one_node("""gate (float[1, 4, 6, 6] x, float[1] threshold) => (float[1, 3] gates, bool[3] open)
        <float[2, 4] w1 = {1, 1, 1, 1, 1, 1, 1, 1}, float[2] b1 = {0, 0},
         float[3, 2] w2 = {1, 1, 1, 1, 1, 1}, float[3] b2 = {0, 0, 0}> {
        gates, open = adroit.RoutingGate <shrink = 1> (x, w1, b1, w2, b2, threshold)
    }""")
    (layer,) = count_model(model, {"x": (1, 4, 6, 6), "threshold": (1,)})
    assert layer.counts.multiply_adds == 36 * 2 * 4 + 3 * 2
    assert layer.counts.transcendental == 3


def test_arithmetic_on_sizes_is_not_counted() -> None:
    model = one_node("""resize (float[1, 1, h, w] x) => (float[1, 1, h2, w2] y)
        <int64[1] two = {2}, int64[2] unit = {1, 1}> {
        size = Shape <start = 2> (x)
        twice = Mul (size, two)
        wanted = Concat <axis = 0> (unit, twice)
        y = Resize <mode = "linear"> (x, , , wanted)
    }""")
    layers = count_model(model, {"x": (1, 1, 5, 7)})
    assert [(layer.operator, layer.shape) for layer in layers] == [("Resize", (1, 1, 10, 14))]
    assert total_counts(layers) == OperationCounts(4 * 140)


def test_another_interpolation_is_refused() -> None:
    model = one_node("""resize (float[1, 1, 4, 4] x) => (float[1, 1, 8, 8] y)
        <int64[4] wanted = {1, 1, 8, 8}> { y = Resize <mode = "cubic"> (x, , , wanted) }""")
    with pytest.raises(UnsupportedModel, match="only bilinear"):
        count_model(model, {"x": (1, 1, 4, 4)})
