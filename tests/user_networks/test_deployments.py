"""Each network of the matrix goes through export, check, run and profile, with native operators and portable bodies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from msgspec.structs import replace

import adroit
from adroit import files
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.parity.check import check_deployment
from adroit.deploy.reference.store import read_reference
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.tensor_files import TensorSet
from tests.user_networks.cases import BY_NAME, CASES, Case
from tests.user_networks.reference_checks import check_reference

Exported = Callable[[str], tuple[Deployment, list[str]]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The deployment of a network, and what the export said of it."""
    repository: Path = tmp_path_factory.mktemp("repository")

    @cache
    def of(name: str) -> tuple[Deployment, list[str]]:
        case, notes = BY_NAME[name], list[str]()
        path = repository / name
        if list(case.inputs) == ["image"]:
            (image,) = case.tensors(1, 0)
            return adroit.export(case.network(), path, example=image, on_note=notes.append), notes
        inputs = [adroit.NamedInput(name, dims[1:]) for name, dims in case.inputs.items()]
        sizes = case.sizes[0]
        return adroit.export(case.network(), path, inputs=inputs, dimensions=sizes, on_note=notes.append), notes

    return of


def feeds(case: Case, batch: int, size: int) -> dict[str, np.ndarray[Any, Any]]:
    return {name: x.numpy() for name, x in zip(case.inputs, case.tensors(batch, size), strict=True)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_network_goes_all_the_way(case: Case, exported: Exported) -> None:
    deployment, _ = exported(case.name)
    forms = list(OperatorForm) if deployment.info.operators else [OperatorForm.native]
    for batch, size in ((1, 0), (3, 1)):
        data = feeds(case, batch, size)
        for form in forms:
            report = adroit.check(deployment.path, data, operators=form, threads=1)
            assert report.passed, report.outputs
            assert set(report.outputs) == {spec.name for spec in deployment.info.outputs}
            assert not report.empirical
        result = adroit.run(deployment.path, data, threads=1)
        with torch.no_grad():
            values = case.network()(*case.tensors(batch, size))
        first = next(iter(values.values())) if isinstance(values, dict) else values
        first = first[0] if isinstance(first, (tuple, list)) else first
        np.testing.assert_allclose(next(iter(result.outputs.values())), first.numpy(), rtol=2e-3, atol=2e-4)
    report = adroit.profile([deployment.path], seconds=0.02, threads=1)
    (candidate,) = report.candidates
    assert candidate.latency.median > 0 and any(layer.counts.total for layer in candidate.layers)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_stored_reference_computes_what_the_network_computes(case: Case, exported: Exported) -> None:
    deployment, _ = exported(case.name)
    check_reference(case, case.network(), read_reference(deployment.reference))


def test_outputs_have_the_networks_names(exported: Exported) -> None:
    expected = {
        "mobilenet_v3": ["output0"],
        "two_eyes": ["output0", "output1"],
        "feature_pyramid": ["p3", "p4", "p5"],
        "image_and_state": ["action", "value"],
    }
    assert {name: [spec.name for spec in exported(name)[0].info.outputs] for name in expected} == expected


def test_nodes_know_module_and_source_line(exported: Exported) -> None:
    program = read_reference(exported("mobilenet_v3")[0].reference)
    nodes = program.program.graphs[0].nodes
    excited = [node for node in nodes if node.op == "aten.hardsigmoid.default"]
    assert [node.module for node in excited] == [f"blocks.{i}.block.6" for i in range(3)]
    assert all(node.source.startswith("convolutional.py:") for node in nodes if node.op.startswith("aten.conv"))


@pytest.mark.parametrize("name", ["adder_vit", "segmentation_head"])
def test_the_layers_are_compared_one_by_one(name: str, exported: Exported) -> None:
    deployment, _ = exported(name)
    report = adroit.check(deployment.path, feeds(BY_NAME[name], 2, 0), layers=True, threads=1)
    assert report.passed and len(report.layers) > 3
    assert {layer.module for layer in report.layers} <= dict(BY_NAME[name].network().named_modules()).keys()


def test_every_output_is_compared(exported: Exported, tmp_path: Path) -> None:
    """A fault in the last output alone is found."""
    deployment, _ = exported("image_and_state")
    model = onnx.load(deployment.model_file)
    assert len(deployment.info.outputs) > 1
    last = deployment.info.outputs[-1].name
    node = next(node for node in model.graph.node if last in node.output)
    node.output[list(node.output).index(last)] = "moved"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([1e-3]), "shift"))
    model.graph.node.append(onnx.helper.make_node("Add", ["moved", "shift"], [last]))
    changed = with_model(deployment, model, tmp_path / "changed")
    report = check_deployment(changed, TensorSet(feeds(BY_NAME["image_and_state"], 2, 0)), RuntimeOptions())
    assert not report.passed
    assert [name for name, comparison in report.outputs.items() if not comparison.passed] == [last]


def with_model(deployment: Deployment, model: onnx.ModelProto, folder: Path) -> Deployment:
    """A copy whose model is another than the exported one, and says so."""
    shutil.copytree(deployment.path, folder)
    copy = Deployment(folder, deployment.info)
    copy.model_file.write_bytes(model.SerializeToString())
    record = replace(deployment.info.model, sha256=files.sha256(copy.model_file))
    return Deployment(folder, replace(deployment.info, model=record))


def test_adder_layers_are_quantized_and_the_rest_is_checked_by_measured_limits(
    exported: Exported, tmp_path: Path
) -> None:
    """Attention is no layer that the parts of an 8-bit network know: their limits are measured, and said."""
    deployment, _ = exported("adder_vit")
    photos = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), np.uint8)
    quantized = adroit.quantize(deployment, tmp_path / "vit-8bit", photos, threads=1).deployment
    assert quantized.info.operators["QAdderConv2d"].nodes == 1
    report = adroit.check(quantized, photos[:4], threads=1)
    assert report.passed and "ai.onnx::LayerNormalization" in report.empirical
    assert 0 < report.output.used < 1 and report.output.limit < 0.01
