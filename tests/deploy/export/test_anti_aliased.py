"""Anti-aliased networks exported whole: one of each family, by native kernels and portable bodies, at any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import export_deployment
from adroit.deploy.measure.counts import count_deployment
from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.schemas import register_schemas
from adroit.deploy.parity.check import check_deployment
from adroit.deploy.parity.rounding_model import run_with_limits
from adroit.deploy.parity.tolerance import compare
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.torch_runtime import load_reference
from benchmarks.anti_aliased_parity import Variant, make_checkpoint, photographs
from tests.deploy.measure.hooked import count_by_hooks

# Each with the number of its adaptive filters. All others: `python -m benchmarks.anti_aliased_parity`.
FAMILIES = {
    "CIFAR": (Variant("aa-cifar-resnet20", {"groups": 4}), 4),
    "binomial": (Variant("aa-cifar-resnet20", {"filter": "binomial"}), 0),
    "binomial of an even size": (Variant("aa-cifar-resnet20", {"filter": "binomial", "filter_size": 4}), 0),
    "first convolution filtered": (Variant("aa-resnet18", {"pool_only": False, "filter_size": 5}), 8),
    "bottlenecks, segmentation": (Variant("aa-deeplabv3plus-resnet50", {"output_stride": 8}), 7),
}
SIZE = (65, 81)


@pytest.fixture(scope="module", params=list(FAMILIES))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployment, int]:
    """A deployment and the number of its adaptive filters."""
    variant, filters = FAMILIES[request.param]
    folder: Path = tmp_path_factory.mktemp("anti_aliased")
    return export_deployment(make_checkpoint(variant, folder / "checkpoint", SIZE), folder / "repository"), filters


def options(form: OperatorForm) -> RuntimeOptions:
    return RuntimeOptions(operators=form, threads=1)


def test_every_filter_is_one_node_and_the_file_is_valid(exported: tuple[Deployment, int]) -> None:
    deployment, filters = exported
    model = deployment.load_model()
    assert sum(n.domain == DOMAIN for n in model.graph.node) == filters
    assert "BatchNormalization" not in {n.op_type for n in model.graph.node}
    register_schemas()
    onnx.checker.check_model(deployment.model_file, full_check=True)


def test_nodes_are_named_after_their_modules(exported: tuple[Deployment, int]) -> None:
    deployment, _ = exported
    network, nodes = load_reference(deployment), deployment.load_model().graph.node
    modules = {path: module for path, module in network.named_modules() if path}
    names = [n.name for n in nodes]
    assert len(set(names)) == len(names)
    for node in nodes:
        path, _, operator = node.name.partition("/")
        assert path in modules
        assert operator == "" or operator.split("_")[0] == node.op_type
    # A convolution's node has its module's own name, though padding is a node of the module too.
    convolutions = {path for path, module in modules.items() if isinstance(module, torch.nn.Conv2d)}
    assert convolutions <= {n.name for n in nodes if n.op_type == "Conv"}


def test_every_layer_is_within_the_tolerance(exported: tuple[Deployment, int]) -> None:
    deployment, filters = exported
    report = check_deployment(deployment, photographs(2), options(OperatorForm.native), layers=True)
    assert report.passed, report.first_wrong_layer
    assert report.output.used < 0.1
    assert report.output.limit < 0.2  # so that passing says something: logits are of the order of 1 to 10
    compared = {layer.module for layer in report.layers}
    assert {n.name for n in deployment.load_model().graph.node if n.op_type == "AdaptiveFilter"} <= compared
    assert len(compared) > 4 * filters


@pytest.mark.parametrize(("batch", "size"), [(1, (64, 40)), (3, (51, 47))])
def test_batch_height_and_width_are_free(exported: tuple[Deployment, int], batch: int, size: tuple[int, int]) -> None:
    deployment, _ = exported
    x = np.random.default_rng(0).standard_normal((batch, 3, *size), np.float32)
    references, limits = run_with_limits(load_reference(deployment).double(), torch.from_numpy(x).double(), [""])
    for form in OperatorForm:
        with open_runtime(deployment, options(form)) as runtime:
            logits = runtime.run({"image": x})["logits"]
        result = compare(logits, references[""].numpy(), limits[""].numpy())
        assert result.used < 0.1, (form, result)


def test_operations_are_those_of_a_count_over_the_running_network(exported: tuple[Deployment, int]) -> None:
    deployment, filters = exported
    counted = count_deployment(deployment, {"image": (2, 3, 65, 96)}).total
    assert counted == count_by_hooks(load_reference(deployment), (2, 3, 65, 96))
    assert (counted.transcendental > 0) == (filters > 0)
