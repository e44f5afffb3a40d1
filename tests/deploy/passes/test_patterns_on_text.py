"""The fusing passes apply where they may, and only there."""

from __future__ import annotations

from collections import Counter

import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from adroit.deploy.passes.drop_zero_bias import drop_zero_bias
from adroit.deploy.passes.fold_affine import fold_affine
from adroit.deploy.passes.fuse_relu import fuse_relu
from adroit.deploy.passes.fuse_residual import fuse_residual

CONSTANTS = """
    W = Constant <value = float[2,3,1,1] {1,2,3,4,5,6}> ()
    one = Constant <value = float[2] {1,1}> ()
    zero = Constant <value = float[2] {0,0}> ()
    mean = Constant <value = float[2] {-10,-20}> ()
    var = Constant <value = float[2] {4,9}> ()
    gamma = Constant <value = float[2] {3,-2}> ()
    beta = Constant <value = float[2] {5,7}> ()
"""


def adder(name: str, source: str = "X", activation: int = 0) -> str:
    attributes = f"strides=[1,1], pads=[0,0,0,0], activation={activation}"
    return f"{name} = adroit.AdderConv2d <{attributes}> ({source}, W, one, zero)\n"


def graph(body: str, outputs: str = "Y") -> ir.Graph:
    shown = ", ".join(f"float[1,2,4,4] {name}" for name in outputs.split())
    text = (
        '<ir_version: 10, opset_import: ["" : 18, "adroit" : 1]>\n'
        f"g (float[1,3,4,4] X, float[1,2,4,4] R) => ({shown}) {{ {CONSTANTS} {body} }}"
    )
    model: ir.Graph = ir.serde.deserialize_model(onnx.parser.parse_model(text)).graph
    for node in model:
        for value in node.outputs:
            if value.shape is None and node.op_type != "Constant":
                value.shape = ir.Shape([1, 2, 4, 4])
    return model


def kinds(g: ir.Graph) -> Counter[str]:
    return Counter(n.op_type for n in g if n.op_type != "Constant")


NORM = "Y = BatchNormalization <epsilon=0.0> (s, gamma, beta, mean, var)"


def test_batch_norm_is_folded() -> None:
    g = graph(adder("s") + NORM)
    assert fold_affine(g) == 1
    assert kinds(g) == {"AdderConv2d": 1}
    node = next(n for n in g if n.op_type == "AdderConv2d")
    scale, shift = (v.const_value.numpy().tolist() for v in node.inputs[2:4])
    assert scale == pytest.approx([3 / 2, -2 / 3])
    assert shift == pytest.approx([5 + 10 * 3 / 2, 7 - 20 * 2 / 3])


@pytest.mark.parametrize(
    "body, outputs",
    [
        (adder("s") + NORM + "\nZ = Relu(s)", "Y Z"),  # another reader of the sum
        (adder("s") + NORM, "Y s"),  # the sum is an output
        (adder("s", activation=1) + NORM, "Y"),  # a ReLU lies between
    ],
)
def test_batch_norm_is_left_where_folding_would_change_a_value(body: str, outputs: str) -> None:
    g = graph(body, outputs)
    assert fold_affine(g) == 0


def test_residual_is_fused_from_either_side() -> None:
    for sum_ in ("Add(s, R)", "Add(R, s)"):
        g = graph(adder("s") + f"Y = {sum_}")
        assert fuse_residual(g) == 1
        (node,) = [n for n in g if n.op_type != "Constant"]
        assert node.op_type == "AdderConv2dAdd"
        assert node.inputs[4].name == "R"


def test_residual_that_broadcasts_is_left() -> None:
    g = graph(adder("s") + "c = Constant <value = float[1] {1}> ()\nY = Add(s, c)")
    assert fuse_residual(g) == 0


def test_two_adder_branches_make_one_sum() -> None:
    g = graph(adder("s") + adder("t") + "u = Add(s, t)\nY = Relu(u)")
    assert fuse_residual(g) == 1
    assert fuse_relu(g) == 1
    assert kinds(g) == {"AdderConv2d": 1, "AdderConv2dAdd": 1}


def test_relu_is_fused_once() -> None:
    g = graph(adder("s") + "t = Relu(s)\nY = Relu(t)")
    assert fuse_relu(g) == 1
    assert kinds(g) == {"AdderConv2d": 1, "Relu": 1}


def test_relu_is_left_where_the_sum_is_read_twice() -> None:
    g = graph(adder("s") + "Y = Relu(s)\nZ = Neg(s)", "Y Z")
    assert fuse_relu(g) == 0


@pytest.mark.parametrize(("bias", "left"), [("zero", 2), ("one", 3)])
def test_a_bias_of_zeros_is_dropped_and_another_is_not(bias: str, left: int) -> None:
    g = graph(f"Y = Conv (X, W, {bias})")
    assert drop_zero_bias(g) == (left == 2)
    (node,) = [n for n in g if n.op_type == "Conv"]
    assert len(node.inputs) == left
