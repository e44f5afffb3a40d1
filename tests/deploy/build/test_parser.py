"""NVIDIA's real parser on our files: tensorrt-rtx's, which needs no GPU. Every parse is in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.operators.definitions import DOMAIN, Operator, Value, operators
from adroit.deploy.passes.flat_bodies import flat_body
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("rtx")

Creator = dict[str, Any]
OURS: list[Creator] = [
    {
        "name": o.name,
        "version": str(o.version),
        "namespace": DOMAIN,
        "fields": {a.name: a.type for a in o.attributes.values()},
    }
    for o in operators().values()
]
CREATED = "Could not create the plugin"


def parse(folder: Path, models: Sequence[onnx.ModelProto], creators: Sequence[Creator]) -> list[dict[str, Any]]:
    names = [f"{index}.onnx" for index in range(len(models))]
    for name, model in zip(names, models, strict=True):
        (folder / name).write_bytes(model.SerializeToString())
    (folder / "task.json").write_text(json.dumps({"creators": creators, "models": names}))
    command = [sys.executable, "-m", "tests.deploy.build.recorder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.fixture(params=["lenet_deployment", "resnet_deployment", "anti_aliased_deployment", "routed_deployment"])
def model(request: pytest.FixtureRequest) -> onnx.ModelProto:
    deployment: Deployment = request.getfixturevalue(request.param)
    return deployment.load_model()


def custom_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in all_nodes(model.graph) if node.domain == DOMAIN]


def alone(model: onnx.ModelProto, node: onnx.NodeProto) -> onnx.ModelProto:
    """The node in a model of its own, with the bodies; its weights stay constants, the rest are inputs."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    described = operators()[node.op_type]
    inputs = [
        helper.make_tensor_value_info(name, 1, [f"{name}.{d}" for d in value.shape])
        for name, value in zip(node.input, described.inputs, strict=True)
        if name not in weights
    ]
    outputs = [
        helper.make_tensor_value_info(name, 9 if value.type == "bool" else 1, [None] * len(value.shape))
        for name, value in zip(node.output, described.outputs, strict=True)
    ]
    constants = [weights[name] for name in node.input if name in weights]
    graph = helper.make_graph([node], "alone", inputs, outputs, constants)
    return helper.make_model(
        graph, functions=model.functions, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def values_of(node: onnx.NodeProto) -> dict[str, list[Any]]:
    """What a creator should be given: every declared attribute as 32-bit integers."""
    declared = operators()[node.op_type].attributes
    return {
        a.name: ["FLOAT32", [a.f]] if a.type == onnx.AttributeProto.FLOAT else ["INT32", list(a.ints) or [a.i]]
        for a in node.attribute
        if a.name in declared
    }


def test_the_file_is_read_with_its_bodies_where_no_plugin_is(model: onnx.ModelProto, tmp_path: Path) -> None:
    (answer,) = parse(tmp_path, [model], [])
    assert answer["taken"], answer["errors"]
    assert "PLUGIN_V3" not in answer["layers"]


def test_the_first_custom_node_of_the_file_reaches_our_creator(model: onnx.ModelProto, tmp_path: Path) -> None:
    """The parser stops there: a creator that answers would end the process."""
    (answer,) = parse(tmp_path, [model], OURS)
    names = {node.name for node in custom_nodes(model)}
    assert [error["node"] in names and CREATED in error["text"] for error in answer["errors"]] == [True]
    assert len(answer["requests"]) == 1


def test_creators_are_given_exactly_the_declared_fields(model: onnx.ModelProto, tmp_path: Path) -> None:
    nodes = custom_nodes(model)
    answers = parse(tmp_path, [alone(model, node) for node in nodes], OURS)
    for node, answer in zip(nodes, answers, strict=True):
        assert [(a["operator"], a["node"]) for a in answer["requests"]] == [(node.op_type, node.name)]
        (request,) = answer["requests"]
        assert set(request["fields"]) == set(operators()[node.op_type].attributes)
        assert request["fields"] == values_of(node)


ONNX_TYPES = {"float32": TensorProto.FLOAT, "int8": TensorProto.INT8, "bool": TensorProto.BOOL}


@pytest.mark.parametrize("operator", operators().values(), ids=lambda o: o.name)
def test_every_operator_can_be_created(operator: Operator, tmp_path: Path) -> None:
    """Also those that no preset has: a node of smallest attributes, in the last of its types."""

    def values(described: Sequence[Value]) -> list[onnx.ValueInfoProto]:
        kinds = [ONNX_TYPES[value.type or operator.types[-1]] for value in described]
        return [
            helper.make_tensor_value_info(value.name, kind, [f"{value.name}.{d}" for d in value.shape])
            for value, kind in zip(described, kinds, strict=True)
        ]

    inputs, outputs = values(operator.inputs), values(operator.outputs)
    least = {a.name: [a.minimum] * a.length if a.type == "ints" else a.minimum for a in operator.attributes.values()}
    node = helper.make_node(
        operator.name,
        [v.name for v in inputs],
        [v.name for v in outputs],
        "node",
        domain=DOMAIN,
        plugin_namespace=DOMAIN,
        plugin_version=str(operator.version),
        **least,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(helper.make_graph([node], "g", inputs, outputs), opset_imports=opsets, ir_version=10)
    (answer,) = parse(tmp_path, [model], OURS)
    (request,) = answer["requests"]
    assert (request["operator"], set(request["fields"])) == (operator.name, set(operator.attributes))
    # float32 is what arrives of an attribute.
    wanted = values_of(node)
    assert {n: (k, pytest.approx(v, rel=1e-6)) for n, (k, v) in wanted.items()} == {
        n: (k, v) for n, (k, v) in request["fields"].items()
    }


@pytest.mark.parametrize("name", operators())
def test_bodies_in_files_call_no_other_body(name: str) -> None:
    """The parser would lose the attributes of the call."""
    body = flat_body(name)
    assert body.node
    assert {node.domain for node in body.node} == {""}
    assert [v for v in (*body.input, *body.output)] == [
        v.name for v in (*operators()[name].inputs, *operators()[name].outputs)
    ]


def test_creators_are_called_inside_branches_too(lenet_deployment: Deployment, tmp_path: Path) -> None:
    model = lenet_deployment.load_model()
    node = custom_nodes(model)[0]
    outer = alone(model, node)
    branches = []
    for name in ("then_branch", "else_branch"):
        inner = onnx.NodeProto()
        inner.CopyFrom(node)
        inner.name, inner.output[0] = f"{node.name}.{name}", f"{name}.Y"
        result = helper.make_tensor_value_info(f"{name}.Y", 1, [None] * 4)
        branches.append(helper.make_graph([inner], name, [], [result]))
    condition = helper.make_tensor_value_info("condition", onnx.TensorProto.BOOL, [])
    chosen = helper.make_node(
        "If", ["condition"], [node.output[0]], then_branch=branches[0], else_branch=branches[1], name="choice"
    )
    del outer.graph.node[:]
    outer.graph.node.append(chosen)
    outer.graph.input.append(condition)
    onnx.checker.check_model(outer)
    with_plugins, without = (parse(tmp_path, [outer], creators)[0] for creators in (OURS, []))
    assert with_plugins["requests"][0]["fields"] == values_of(node)
    assert without["taken"], without["errors"]
    assert "CONDITION" in without["layers"]


# ---- which of function and plugin the parser takes ----

MARKS: Mapping[str, str] = {"namespace": "plugin_namespace", "version": "plugin_version"}
PROBE = '<domain: "adroit", opset_import: ["": 18]> Probe <size> (X) => (Y) { Y = Relu (X) }'
PROBES: list[Creator] = [{"name": "Probe", "version": "1", "namespace": DOMAIN, "fields": {"size": "int"}}]


def probe(function: bool, size: int = 3, **marks: str) -> onnx.ModelProto:
    attributes = ", ".join([f"size = {size}", *(f'{MARKS[mark]} = "{value}"' for mark, value in marks.items())])
    text = (
        '<ir_version: 10, opset_import: ["": 18, "adroit": 1]> g (float[n, 4] X) => (float[n, 4] Y)'
        f" {{ Y = adroit.Probe <{attributes}> (X) }}"
    )
    model = onnx.parser.parse_model(text)
    if function:
        model.functions.append(onnx.parser.parse_function(PROBE))
    return model


@pytest.mark.parametrize(
    ("function", "marks", "winner"),
    [
        (True, {}, "function"),
        (True, {"version": "1"}, "function"),
        (True, {"namespace": DOMAIN}, "plugin"),
        (True, {"namespace": DOMAIN, "version": "1"}, "plugin"),
        # What stamp_operators writes would be passed over without a word by these:
        (True, {"namespace": DOMAIN, "version": "2"}, "function"),
        (True, {"namespace": "other", "version": "1"}, "function"),
        (True, {"namespace": "", "version": "1"}, "function"),
        (False, {}, "plugin"),
        (False, {"namespace": DOMAIN, "version": "1"}, "plugin"),
        # The node's domain is tried where its namespace has nothing.
        (False, {"namespace": "other", "version": "1"}, "plugin"),
        (False, {"namespace": DOMAIN, "version": "2"}, "none"),
    ],
)
def test_function_or_plugin(function: bool, marks: Mapping[str, str], winner: str, tmp_path: Path) -> None:
    (answer,) = parse(tmp_path, [probe(function, **marks)], PROBES)
    if answer["taken"]:
        assert (winner, answer["layers"], answer["requests"]) == ("function", ["ACTIVATION"], [])
    elif answer["requests"]:
        assert winner == "plugin"
        assert CREATED in answer["errors"][0]["text"]
    else:
        assert winner == "none"
        assert "Plugin not found" in answer["errors"][0]["text"]


def test_an_attribute_beyond_32_bits_arrives_as_another_number(tmp_path: Path) -> None:
    """Without a word; hence the check of deploy/build/prepare.py."""
    (answer,) = parse(tmp_path, [probe(True, size=2**33, namespace=DOMAIN)], PROBES)
    assert answer["requests"][0]["fields"]["size"] == ["INT32", [0]]
