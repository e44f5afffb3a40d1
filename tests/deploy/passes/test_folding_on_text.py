"""Folding into every layer gives the same numbers, and is left where it would not: graphs that no exporter wrote."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from adroit.deploy.passes.drop_zero_bias import drop_zero_bias
from adroit.deploy.passes.fold_affine import fold_affine
from adroit.deploy.passes.fuse_relu import fuse_relu
from adroit.deploy.passes.graph import add_initializer

# Constants, by name: shape and type.
SHAPES: dict[str, tuple[int, ...]] = {
    "W1": (4, 4, 3), "W2": (4, 2, 3, 3), "W3": (4, 4, 1, 1, 1), "T2": (4, 2, 2, 2), "M": (5, 4), "MT": (4, 5),
    "bias": (4,), "row": (1, 4), "gamma": (4,), "beta": (4,), "mean": (4,), "variance": (4,),
    "column": (4, 1, 1), "full": (1, 4, 1, 1), "scalar": (), "one": (1,), "width": (4,), "map": (4, 2, 2),
}  # fmt: skip
NORM = "BatchNormalization <epsilon = 0.01> (s, gamma, beta, mean, variance)"


def model(text: str, x: str, kind: str = "float") -> onnx.ModelProto:
    """y of x: `text` is the graph's nodes, `x` its input's dimensions; the constants are SHAPES' that it names."""
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 18, "adroit" : 1]>\ng ({kind}[{x}] x) => ({kind} y) {{ {text} }}'
    )
    random = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        array = random.uniform(0.5, 1.5, shape).astype(onnx.helper.tensor_dtype_to_np_dtype(_TYPES[kind]))
        if any(name in node.input for node in proto.graph.node):
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return proto


_TYPES = {"float": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16, "double": onnx.TensorProto.DOUBLE}


def folded(proto: onnx.ModelProto) -> onnx.ModelProto:
    whole = ir.serde.deserialize_model(proto)
    fold_affine(whole.graph)
    return ir.serde.serialize_model(whole)


def run(proto: onnx.ModelProto, shape: tuple[int, ...]) -> np.ndarray:
    """By ONNX's reference, which knows every type, but not groups of transposed convolutions."""
    kind = onnx.helper.tensor_dtype_to_np_dtype(proto.graph.input[0].type.tensor_type.elem_type)
    feeds = {"x": np.random.default_rng(1).standard_normal(shape).astype(kind)}
    if kind == np.float32:
        settings = onnxruntime.SessionOptions()
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(proto.SerializeToString(), settings)
        return np.asarray(session.run(None, feeds)[0])
    return np.asarray(ReferenceEvaluator(proto).run(None, feeds)[0])


LAYERS = {
    "Conv 1d": ("Conv <pads = [1, 1]> (x, W1)", "2, 4, 5"),
    "Conv grouped": ("Conv <group = 2, pads = [1, 1, 1, 1]> (x, W2, bias)", "2, 4, 5, 6"),
    "Conv padded by itself": ('Conv <group = 2, auto_pad = "SAME_UPPER", strides = [2, 2]> (x, W2)', "2, 4, 5, 6"),
    "Conv 3d": ("Conv (x, W3, bias)", "2, 4, 2, 3, 2"),
    "ConvTranspose": ("ConvTranspose <strides = [2, 2]> (x, T2)", "2, 4, 3, 3"),
    "ConvTranspose grouped": ("ConvTranspose <group = 2, strides = [2, 2]> (x, T2, bias)", "2, 4, 3, 3"),
    "Gemm": ("Gemm <alpha = 2.0, beta = 3.0> (x, M, row)", "2, 5"),
    "Gemm of a transposed matrix": ("Gemm <transB = 1> (x, MT, bias)", "2, 5"),
    "Gemm without a bias": ("Gemm <transB = 1> (x, MT)", "2, 5"),
    "Gemm with one number for a bias": ("Gemm <transB = 1, beta = 0.5> (x, MT, scalar)", "2, 5"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        *((layer, "float") for layer in LAYERS),
        *((layer, kind) for layer in LAYERS for kind in ("double", "float16") if layer != "ConvTranspose grouped"),
    ],
)
def test_a_norm_folds_into_every_layer_and_type(layer: str, kind: str) -> None:
    text, dims = LAYERS[layer]
    channels = 2 if layer == "ConvTranspose" else 4
    proto = model(f"s = {text}\n y = {NORM}", dims, kind)
    for tensor in proto.graph.initializer:
        if channels == 2 and tensor.name in ("gamma", "beta", "mean", "variance"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)[:2], tensor.name))
    after = folded(proto)
    assert len(after.graph.node) == 1
    shape = tuple(map(int, dims.split(",")))
    before, result = run(proto, shape), run(after, shape)
    assert result.dtype == before.dtype
    tolerance = {"float": 1e-5, "double": 1e-12, "float16": 2e-2}[kind]
    np.testing.assert_allclose(result, before, rtol=tolerance, atol=tolerance * float(np.abs(before).max()))


GROUPED = "s = Conv <group = 2, pads = [1, 1, 1, 1]> (x, W2, bias)\n y = "


@pytest.mark.parametrize(
    "arithmetic",
    [
        *("Add(s, column)", "Add(full, s)", "Add(s, scalar)", "Sub(s, one)", "Sub(column, s)", "Mul(s, full)"),
        *("Mul(scalar, s)", "Div(s, column)"),
    ],
)
def test_arithmetic_with_a_channels_constant_folds(arithmetic: str) -> None:
    proto = model(GROUPED + arithmetic, "2, 4, 2, 4")
    after = folded(proto)
    assert len(after.graph.node) == 1
    np.testing.assert_allclose(run(after, (2, 4, 2, 4)), run(proto, (2, 4, 2, 4)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        GROUPED + "Add(s, width)",  # by column of the image, of which there are as many as channels
        GROUPED + "Add(s, s)",
        GROUPED + "Add(s, x)",
        GROUPED + "Div(column, s)",
        GROUPED + "Pow(s, column)",
        "s = Conv (x, W3)\n y = Mul(s, full)",  # four axes of five: another axis than the channels
        "s = Relu(x)\n y = Mul(s, column)",
        "V = Relu(W2)\n s = Conv <group = 2> (x, V)\n y = Mul(s, column)",
        "s = Conv <group = 2> (x, W2)\n a = Relu(mean)\n y = BatchNormalization(s, gamma, beta, a, variance)",
        f"b = Relu(bias)\n s = Conv <group = 2> (x, W2, b)\n y = {NORM}",
        "s = Conv <group = 2> (x, W2)\n"
        "y, m, v = BatchNormalization <training_mode = 1> (s, gamma, beta, mean, variance)",
    ],
)
def test_what_is_not_a_factor_and_an_offset_by_channel_is_left(body: str) -> None:
    proto = model(body, "2, 4, 2, 4")
    assert [node.op_type for node in folded(proto).graph.node] == [node.op_type for node in proto.graph.node]


def test_a_factor_that_leaves_the_types_range_is_left() -> None:
    proto = model(GROUPED + "Mul(s, full)", "2, 4, 2, 4", "float16")
    (factor,) = [t for t in proto.graph.initializer if t.name == "full"]
    factor.CopyFrom(onnx.numpy_helper.from_array(np.full((1, 4, 1, 1), 65_000, np.float16), "full"))
    assert len(folded(proto).graph.node) == 2


def test_division_by_zero_is_left() -> None:
    proto = model(GROUPED + "Div(s, full)", "2, 4, 2, 4")
    (factor,) = [t for t in proto.graph.initializer if t.name == "full"]
    factor.CopyFrom(onnx.numpy_helper.from_array(np.zeros((1, 4, 1, 1), np.float32), "full"))
    assert len(folded(proto).graph.node) == 2


def test_an_initializer_that_is_an_input_too_is_no_constant() -> None:
    proto = model(GROUPED + "Mul(s, full)", "2, 4, 2, 4")
    proto.graph.input.append(onnx.helper.make_tensor_value_info("full", onnx.TensorProto.FLOAT, (1, 4, 1, 1)))
    assert len(folded(proto).graph.node) == 2


def test_a_layer_outside_of_a_branch_is_not_moved_into_it() -> None:
    text = (
        "s = Conv <group = 2> (x, W2)\n total = ReduceSum <keepdims = 0> (x)\n open = Cast <to = 9> (total)\n"
        "y = If (open) <then_branch = a () => (float t) { t = Mul(s, column) },"
        " else_branch = b () => (float e) { e = Relu(x) }>"
    )
    proto = model(text, "2, 4, 3, 3")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 1, 1), np.float32), "column"))
    assert "Conv" in [node.op_type for node in folded(proto).graph.node]


@pytest.mark.parametrize(
    ("node", "fuses"),
    [
        ("Relu(s)", True), ("Max(s, zero)", True), ("Max(zero, s)", True), ("Clip(s, zero)", True),
        ("Clip(s, zero, six)", False), ("Clip(s, six)", False), ("Clip(s)", False), ("Max(s, six)", False),
        ("Max(s, large)", False), ("Max(s, zero, six)", False), ("Min(s, zero)", False),
    ],
)  # fmt: skip
def test_what_counts_as_a_relu(node: str, fuses: bool) -> None:
    adder = "s = adroit.AdderConv2d <strides = [1, 1], pads = [0, 0, 0, 0], activation = 0> (x, W2, bias, bias)\n"
    whole = ir.serde.deserialize_model(model(f"{adder} y = {node}", "2, 2, 4, 4"))
    for name, array in {"zero": np.zeros(()), "six": np.array(6.0), "large": np.zeros((1, 1, 1, 1, 1))}.items():
        constant = add_initializer(whole.graph, name, array.astype(np.float32))
        for user in whole.graph:
            for index, value in enumerate(user.inputs):
                if value is not None and value.name == name and value is not constant:
                    user.replace_input_with(index, constant)
    assert fuse_relu(whole.graph) == fuses


def test_zeros_of_a_wrong_shape_are_dropped_as_a_bias() -> None:
    whole = ir.serde.deserialize_model(model("y = Conv (x, W3, zeros)", "2, 4, 2, 3, 2"))
    (node,) = whole.graph
    node.replace_input_with(2, add_initializer(whole.graph, "zeros", np.zeros((4, 2), np.float32)))
    assert drop_zero_bias(whole.graph) == 1
    assert len(node.inputs) == 2
