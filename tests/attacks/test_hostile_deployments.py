"""Deployments that something else changed, and libraries that are not there. See scene.py."""

from __future__ import annotations

import json

import onnx
import pytest
from syrupy.assertion import SnapshotAssertion

from tests.attacks.scene import Attack, Scene, copied_deployment, meet
from tests.conftest import Adroit


def onnx_file_without_our_operators(scene: Scene) -> list[object]:
    """Another model under the deployment's name."""
    copy = copied_deployment(scene)
    node = onnx.helper.make_node("Relu", ["image"], ["logits"])
    spec = [onnx.helper.make_tensor_value_info(n, 1, ["n", 1, 32, 32]) for n in ("image", "logits")]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", spec[:1], spec[1:])), copy / "1/model.onnx")
    return ["run", copy, "--data", scene.images, "-o", scene.output]


def onnx_file_changed_after_export(scene: Scene) -> list[object]:
    """One weight differs: the verdict of parity and the provenance no longer hold."""
    copy = copied_deployment(scene)
    model = onnx.load(copy / "1/model.onnx")
    model.graph.initializer[0].raw_data = b"\0" * len(model.graph.initializer[0].raw_data)
    onnx.save(model, copy / "1/model.onnx")
    return ["run", copy, "--data", scene.images, "-o", scene.output]


def onnx_file_of_noise(scene: Scene) -> list[object]:
    """Not a protobuf at all."""
    copy = copied_deployment(scene)
    (copy / "1/model.onnx").write_bytes(b"\xff" * 1000)
    return ["run", copy, "--data", scene.images, "-o", scene.output]


def description_that_is_no_json(scene: Scene) -> list[object]:
    """adroit.json damaged by an editor."""
    copy = copied_deployment(scene)
    (copy / "adroit.json").write_text('{"format": 1,')
    return ["run", copy, "--data", scene.images, "-o", scene.output]


def description_of_another_format(scene: Scene) -> list[object]:
    """A deployment of a later adroit."""
    copy = copied_deployment(scene)
    description = json.loads((copy / "adroit.json").read_text())
    (copy / "adroit.json").write_text(json.dumps({**description, "format": 99}))
    return ["run", copy, "--data", scene.images, "-o", scene.output]


def folder_that_is_no_deployment(scene: Scene) -> list[object]:
    """The repository instead of the deployment in it."""
    return ["profile", scene.deployment.parent]


ATTACKS = [
    Attack(onnx_file_without_our_operators, 6),
    Attack(onnx_file_changed_after_export, 6),
    Attack(onnx_file_of_noise, 2),
    Attack(description_that_is_no_json, 2),
    Attack(description_of_another_format, 2),
    Attack(folder_that_is_no_deployment, 2),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_attack(attack: Attack, scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    meet(attack, scene, adroit, snapshot)


def test_missing_library_is_an_error_with_a_way_out(scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    nowhere = {"ADROIT_ONNXRUNTIME_LIBRARY": "/nowhere/libadroit_onnxruntime.so"}
    command = ["run", scene.deployment, "--data", scene.images, "-o", scene.output]
    result = adroit(*command, environment=nowhere)
    assert result.code == 5
    assert result.err == snapshot
    assert not scene.output.exists()
    assert adroit(*command, "--operators", "portable", environment=nowhere).code == 0


def test_library_that_is_none_is_an_error(scene: Scene, adroit: Adroit) -> None:
    fake = scene.folder / "fake.so"
    fake.write_text("not a library")
    command = ["run", scene.deployment, "--data", scene.images, "-o", scene.output]
    result = adroit(*command, environment={"ADROIT_ONNXRUNTIME_LIBRARY": str(fake)})
    assert result.code == 5
    assert result.err.startswith("error: ")
    assert "not a usable operator library" in result.err
