"""Operation counts: published totals, and the formulas on a case small enough to count by hand."""

from __future__ import annotations

import onnx

from adroit.deploy.export.graph import export_graph
from adroit.deploy.measure.counts import UncountedNode, count_model
from adroit.deploy.operators.schemas import register_schemas
from adroit.models.networks.architectures import build_network
from adroit.models.operators.counts import OperationCounts


def test_the_plain_resnet18_has_the_published_multiply_adds() -> None:
    """1.814 G at 224 x 224, as torchvision documents for its weights."""
    network = build_network("aa-resnet18", {"filter": "none"}).eval()
    counted = count_model(export_graph(network, 3, (64, 64), True), {"image": (1, 3, 224, 224)})
    assert counted.total.multiply_adds == 1_814_073_344


def one_node(text: str) -> onnx.ModelProto:
    register_schemas()
    domains = '"": 18, "adroit": 1, "com.microsoft": 1, "maker": 1'
    return onnx.parser.parse_model(f"<ir_version: 10, opset_import: [{domains}]> {text}")


def test_an_adaptive_filter_by_hand() -> None:
    """2 groups of 3 x 3 on 4 channels, 5 x 6 positions to 3 x 3: 36 results of 9 taps, 162 weights."""
    model = one_node("""filter (float[1, 4, 5, 6] x, float[1, 18, 3, 3] logits) => (float[1, 4, 3, 3] y) {
        y = adroit.AdaptiveFilter <kernel_size = 3, stride = 2, groups = 2, joint_softmax = 1> (x, logits)
    }""")
    counted = count_model(model, {"x": (1, 4, 5, 6), "logits": (1, 18, 3, 3)})
    assert [layer.counts for layer in counted.layers] == [OperationCounts(36 * 9, 0, 4 * 162, 162)]


def test_a_routing_gate_by_hand() -> None:
    """4 channels of 6 x 6 to 2 hidden ones to 3 paths."""
    model = one_node("""gate (float[1, 4, 6, 6] x, float[1] threshold) => (float[1, 3] gates, bool[3] open)
        <float[2, 4] w1 = {1, 1, 1, 1, 1, 1, 1, 1}, float[2] b1 = {0, 0},
         float[3, 2] w2 = {1, 1, 1, 1, 1, 1}, float[3] b2 = {0, 0, 0}> {
        gates, open = adroit.RoutingGate <shrink = 1> (x, w1, b1, w2, b2, threshold)
    }""")
    (layer,) = count_model(model, {"x": (1, 4, 6, 6), "threshold": (1,)}).layers
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
    counted = count_model(model, {"x": (1, 1, 5, 7)})
    assert [(layer.operator, layer.shape) for layer in counted.layers] == [("Resize", (1, 1, 10, 14))]
    assert counted.total == OperationCounts(4 * 140)


IMAGE = {"x": (1, 2, 5, 6)}
RELU = OperationCounts(elementwise=60)


def test_an_operator_of_the_runtimes_own_is_listed_and_the_rest_is_counted() -> None:
    """Its shape is ONNX Runtime's to infer, and a session's: ONNX does not know it."""
    model = one_node("""own (float[1, 2, h, w] x) => (float[n] y) <float[3, 2, 1, 1] weight = {1, 1, 1, 1, 1, 1}> {
        a = com.microsoft.QuickGelu <alpha = 1.0> (x)
        y = Conv (a, weight)
    }""")
    counted = count_model(model, IMAGE)
    assert counted.uncounted == [
        UncountedNode("a", "com.microsoft::QuickGelu", "there is no formula for com.microsoft::QuickGelu")
    ]
    assert [(layer.node, layer.shape) for layer in counted.layers] == [("y", (1, 3, 5, 6))]
    assert counted.total == OperationCounts(multiply_adds=3 * 30 * 2)


def test_an_operator_that_nobody_knows_hides_the_shapes_behind_it_alone() -> None:
    model = one_node("""unknown (float[1, 2, h, w] x) => (float[n] y, float[n] z) {
        a = maker.Secret (x)
        b = Identity (a)
        y = Relu (b)
        z = Relu (x)
    }""")
    counted = count_model(model, IMAGE)
    assert [(node.node, node.reason) for node in counted.uncounted] == [
        ("a", "there is no formula for maker::Secret"),
        ("y", "the shape of y is not known"),
    ]
    assert counted.total == RELU


def test_a_local_function_is_counted_by_its_body() -> None:
    """Functions that functions call too; the body of one of ours is passed over for its own formula."""
    model = one_node("""local (float[1, 2, h, w] x) => (float[n] y) { y = maker.Outer (x) }
        <domain: "maker", opset_import: ["": 18, "maker": 1]> Outer (a) => (d) { b = maker.Inner (a)
            d = Add (b, a) }
        <domain: "maker", opset_import: ["": 18]> Inner (a) => (b) { b = Exp (a) }""")
    counted = count_model(model, IMAGE)
    assert [layer.operator for layer in counted.layers] == ["Exp", "Add"]
    assert counted.total == OperationCounts(elementwise=60, transcendental=60)
    assert counted.uncounted == []


def test_what_depends_on_values_is_listed() -> None:
    model = one_node("""boxes (float[1, n, 4] boxes, float[1, c, n] scores) => (int64[k, 3] y, float[1, c, n] s)
        <int64 most = {3}> {
        y = NonMaxSuppression (boxes, scores, most)
        s = Softmax <axis = 1> (scores)
    }""")
    counted = count_model(model, {"boxes": (1, 10, 4), "scores": (1, 3, 10)})
    assert [node.operator for node in counted.uncounted] == ["NonMaxSuppression"]
    assert counted.total == OperationCounts(elementwise=4 * 30, transcendental=30)


def test_of_an_if_the_larger_branch_is_counted() -> None:
    model = one_node("""choice (float[1, 2, h, w] x, bool c) => (float[1, 2, h, w] y) {
        y = If (c) <
            then_branch = small () => (float[1, 2, h, w] p) { p = Relu (x) },
            else_branch = large () => (float[1, 2, h, w] r) { q = Exp (x)
                r = Add (q, x) }>
    }""")
    counted = count_model(model, IMAGE)
    assert counted.branches == {"y": "else_branch"}
    assert counted.total == OperationCounts(elementwise=60, transcendental=60)


def test_a_loop_is_listed_and_so_is_what_takes_its_result() -> None:
    model = one_node("""repeat (float[1, 2, h, w] x, int64 times, bool go) => (float[n] y, float[n] z) {
        a = Loop (times, go, x) <body = once (int64 i, bool before, float[1, 2, h, w] s)
            => (bool after, float[1, 2, h, w] t) {
            after = Identity (before)
            t = Exp (s)
        }>
        y = Relu (a)
        z = Relu (x)
    }""")
    counted = count_model(model, IMAGE)
    assert [(node.node, node.reason) for node in counted.uncounted] == [
        ("a", "how often its body runs is not known"),
        ("y", "the shape of y is not known"),
    ]
    assert counted.total == RELU


def test_a_layer_without_a_name_is_known_by_its_output() -> None:
    model = one_node("plain (float[1, 2, h, w] x) => (float[1, 2, h, w] y) { y = Relu (x) }")
    assert [layer.node for layer in count_model(model, IMAGE).layers] == ["y"]
