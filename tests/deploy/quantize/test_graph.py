"""The graph of a quantized network: activations stay integers between quantized layers, and only there."""

from __future__ import annotations

from collections import Counter

import onnx
import onnx_ir as ir
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.operators.grid import Grid
from adroit.deploy.passes.graph import constant
from adroit.deploy.quantize.graph import activations, adders, byte_tensors
from adroit.deploy.quantize.quantize import quantize_model
from adroit.deploy.quantize.weights import quantize_weights

GRID = Grid(0.05, 3)


def _quantized(deployment: Deployment, keep_float: tuple[str, ...] = ()) -> onnx.ModelProto:
    model = deployment.load_model()
    nodes = [node for node in adders(ir.from_proto(model).graph) if node.name not in keep_float]
    layers = {str(n.name): quantize_weights(*(constant(v) for v in n.inputs[1:4]), GRID) for n in nodes}
    tensors = [str(value.name) for node in nodes for value in activations(node)]
    return quantize_model(model, dict.fromkeys(tensors, GRID), layers)


def _operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def _attribute(node: onnx.NodeProto, name: str) -> object:
    return next(onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name)


def test_one_quantization_at_the_start_and_none_after(resnet_deployment: Deployment) -> None:
    model = _quantized(resnet_deployment)
    found = _operators(model)
    assert (found["QAdderConv2d"], found["QAdderConv2dAdd"]) == (11, 9)
    assert found["QuantizeLinear"] == 1 and found["DequantizeLinear"] == 0 and found["AdderConv2d"] == 0
    layers = [node for node in model.graph.node if node.op_type.startswith("QAdder")]
    kinds = [_attribute(node, "output_type") for node in layers]
    assert kinds == [onnx.TensorProto.UINT8] * 19 + [onnx.TensorProto.FLOAT]  # pooling reads the last one


def test_nothing_of_the_float_layers_stays_in_the_file(resnet_deployment: Deployment) -> None:
    model = _quantized(resnet_deployment)
    assert {f.name for f in model.functions} == {"QAdderConv2d", "QAdderConv2dAdd"}
    used = {name for node in model.graph.node for name in node.input}
    assert {t.name for t in model.graph.initializer} <= used
    assert len(model.SerializeToString()) < 0.4 * len(resnet_deployment.load_model().SerializeToString())


def test_nodes_keep_their_names(resnet_deployment: Deployment) -> None:
    def names(model: onnx.ModelProto) -> list[str]:
        return [node.name for node in model.graph.node if "AdderConv2d" in node.op_type]

    assert names(_quantized(resnet_deployment)) == names(resnet_deployment.load_model())


def test_a_layer_kept_in_float_reads_and_gives_float(resnet_deployment: Deployment) -> None:
    """The first layer of a residual block: the shortcut before it stays in integers."""
    model = _quantized(resnet_deployment, ("layer1.1.conv1",))
    found = _operators(model)
    assert (found["AdderConv2d"], found["QuantizeLinear"], found["DequantizeLinear"]) == (1, 2, 1)
    by_output = {node.output[0]: node for node in model.graph.node}
    (kept,) = [node for node in model.graph.node if node.op_type == "AdderConv2d"]
    assert by_output[kept.input[0]].op_type == "DequantizeLinear"
    after = next(node for node in model.graph.node if node.name == "layer1.1.conv2")
    assert by_output[after.input[0]].op_type == "QuantizeLinear"
    assert by_output[after.input[4]].op_type == "QAdderConv2dAdd"


def test_a_network_that_reads_its_image_in_8_bits_and_pools_in_float(lenet_deployment: Deployment) -> None:
    """Its first layer is an adder layer, and max pooling lies between the others."""
    model = _quantized(lenet_deployment)
    by_output = {node.output[0]: node for node in model.graph.node}
    assert model.graph.node[0].op_type == "QuantizeLinear" and model.graph.node[0].input[0] == "image"
    for node in model.graph.node:
        if node.op_type == "MaxPool":  # in bytes it would be many times slower in ONNX Runtime
            assert _attribute(by_output[node.input[0]], "output_type") == onnx.TensorProto.FLOAT
    pooled = [node for node in model.graph.node if node.op_type == "QuantizeLinear"][1:]
    assert pooled and all(by_output[node.input[0]].op_type == "Max" for node in pooled)


@pytest.mark.parametrize("layers", [[], ["layer1.0.conv2"]])
def test_the_tensors_that_need_a_grid(resnet_deployment: Deployment, layers: list[str]) -> None:
    graph = ir.from_proto(resnet_deployment.load_model()).graph
    assert byte_tensors(graph, layers) == (["layer1.0.relu1", "relu"] if layers else [])
