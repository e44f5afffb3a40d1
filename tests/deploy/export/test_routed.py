"""Routed networks: masked, if and static forms agree with the float64 network and with each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
from adroit.deploy.deployment.routed import executed_route
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.deploy.export.routed import RoutingForm
from adroit.deploy.measure.counts import total_counts
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.parity.rounding_model import run_with_limits
from adroit.deploy.parity.tolerance import compare
from adroit.deploy.routing.route_counts import count_route, skip_efficiency
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UnsupportedModel, UsageError
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.networks.architectures import architecture_named
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.cost import cost_table
from adroit.models.routing.route import Route
from adroit.models.routing.space import SCALES, Node, StemShape
from tests.conftest import Adroit
from tests.models.networks.routed import images, mixed_route, route_down_to, routed_network

FORMS: list[RoutingForm] = ["masked", "if", "static"]
SIZES = [(128, 160), (192, 128), (256, 288)]
DEPTH, WIDTH = 3, 8


@pytest.fixture(scope="module")
def network() -> DynamicRouting:
    return routed_network(DEPTH, WIDTH, "small", classes=11)


def save(network: DynamicRouting, folder: Path, gate: str) -> Path:
    known = architecture_named("dynamic-small")
    arguments = {"depth": network.space.depth, "width": network.space.width, "gate": gate, "classes": 11}
    save_checkpoint(folder, network.float(), CheckpointConfig("dynamic-small", known.preprocessing, arguments))
    network.double()
    return folder


@pytest.fixture(scope="module")
def deployments(network: DynamicRouting, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployment]:
    folder = tmp_path_factory.mktemp("routed")
    checkpoint = save(network, folder / "checkpoint", "small")
    return {form: export_deployment(checkpoint, folder, form, routing=Routing(form)) for form in FORMS}


def run(
    deployment: Deployment, x: np.ndarray, threshold: float | np.ndarray = 0.0, form: OperatorForm = OperatorForm.native
) -> dict:
    try:
        with open_runtime(deployment, RuntimeOptions(operators=form, threads=1)) as runtime:
            feeds = deployment.feeds(x)
            if GATE_THRESHOLD_INPUT in feeds:
                feeds[GATE_THRESHOLD_INPUT] = np.full(len(x), threshold, np.float32)
            return runtime.run(feeds)
    except Exception as error:
        if "library is missing" in str(error):
            pytest.skip(str(error))
        raise


@dataclass(frozen=True)
class Expected:
    """What the float64 network gives for images: logits, their limits, and gates."""

    x: np.ndarray
    logits: np.ndarray
    limits: np.ndarray
    gates: np.ndarray


@pytest.fixture(scope="module")
def expected(network: DynamicRouting) -> Callable[[int, tuple[int, int], float], Expected]:
    """Computed once for all forms."""

    @cache
    def of(batch: int, size: tuple[int, int], threshold: float) -> Expected:
        x, limit = images(batch, size).float(), torch.tensor([threshold], dtype=torch.float64)
        references, limits = run_with_limits(network, x.double(), [""], arguments=(limit,))
        gates = network(x.double(), limit, with_gates=True)[1].detach().numpy()
        return Expected(x.numpy(), references[""].numpy(), limits[""].numpy(), gates)

    return of


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("operators", list(OperatorForm))
@pytest.mark.parametrize(("batch", "threshold"), [(1, 0.0), (4, 0.3)])
def test_every_form_is_within_the_limit_and_takes_the_same_routes(
    form: RoutingForm, operators: OperatorForm, batch: int, threshold: float, deployments: dict[str, Deployment],
    expected: Callable[[int, tuple[int, int], float], Expected],
) -> None:  # fmt: skip
    for size in SIZES:
        truth = expected(batch, size, threshold)
        values = run(deployments[form], truth.x, threshold, operators)
        result = compare(values["logits"], truth.logits, truth.limits)
        assert result.passed, (size, result)
        np.testing.assert_array_equal(values["gates"] > 0, truth.gates > 0)
        assert 0 < (truth.gates > 0).mean() < 1


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("size", SIZES)
def test_the_forms_agree_within_rounding(batch: int, size: tuple[int, int], deployments: dict[str, Deployment]) -> None:
    x = images(batch, size).float().numpy()
    masked, branching, static = (run(deployments[form], x)["logits"] for form in FORMS)
    # Fusions differ inside branches; nothing else may.
    np.testing.assert_allclose(branching, masked, atol=1e-4 * np.abs(masked).max())
    np.testing.assert_allclose(static, masked, atol=1e-4 * np.abs(masked).max())


def test_results_do_not_depend_on_batch_mates(deployments: dict[str, Deployment]) -> None:
    x = images(4).float().numpy()
    together = run(deployments["if"], x)["logits"]
    for n in range(4):
        alone = run(deployments["if"], x[n : n + 1])["logits"]
        np.testing.assert_allclose(together[n], alone[0], atol=1e-4 * np.abs(alone).max())


def test_a_static_route_has_only_its_paths(
    network: DynamicRouting, deployments: dict[str, Deployment], tmp_path: Path
) -> None:
    route = mixed_route(network, seed=3)
    checkpoint = save(network, tmp_path / "checkpoint", "small")
    deployment = export_deployment(checkpoint, tmp_path, "route", routing=Routing("static", route))
    convolutions = sum(n.op_type == "Conv" for n in all_nodes(deployment.load_model().graph))
    everything = deployments["static"].load_model().graph
    assert convolutions < sum(n.op_type == "Conv" for n in all_nodes(everything))
    for size in SIZES:
        x = images(2, size).float()
        references, limits = run_with_limits(network, x.double(), [""], arguments=(None, route))
        result = compare(run(deployment, x.numpy())["logits"], references[""].numpy(), limits[""].numpy())
        assert result.passed, (size, result)
    assert executed_route(deployment, None) == route


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("operators", list(OperatorForm))
def test_images_that_reach_other_scales_share_a_batch(
    form: RoutingForm, operators: OperatorForm, network: DynamicRouting, deployments: dict[str, Deployment]
) -> None:
    thresholds = [0.0, 0.45, 0.6, 1.0]
    x, limit = images(4).float(), torch.tensor(thresholds, dtype=torch.float64)
    references, limits = run_with_limits(network, x.double(), [""], arguments=(limit,))
    gates = network(x.double(), limit, with_gates=True)[1].detach().numpy()
    routes = [Route.from_gates(network.space, one) for one in gates]
    depths = [sum(route.is_live(Node(DEPTH - 1, scale)) for scale in range(SCALES)) for route in routes]
    assert len(set(depths)) > 2 and depths[-1] == 1, depths
    for chosen in ([0, 1, 2, 3], *([n] for n in range(4))):
        values = run(deployments[form], x.numpy()[chosen], np.array(thresholds, np.float32)[chosen], operators)
        result = compare(values["logits"], references[""].numpy()[chosen], limits[""].numpy()[chosen])
        assert result.passed, (chosen, result)


def test_what_nothing_reaches_is_not_decoded(deployments: dict[str, Deployment]) -> None:
    graph = deployments["if"].load_model().graph
    outside = [n.name for n in graph.node if n.op_type in ("Conv", "Resize") and "sem_seg_head" in n.name]
    assert [name for name in outside if "list" in name] == [n for n in outside if "layer_decoder_list.0" in n]


def test_a_route_that_leaves_scales_out_is_exported_and_checked(
    network: DynamicRouting, tmp_path: Path, adroit: Adroit
) -> None:
    route = route_down_to(network, 1)
    checkpoint = save(network, tmp_path / "checkpoint", "small")
    (tmp_path / "route.json").write_text(json.dumps(route.to_json()))
    exported = adroit("export", checkpoint, "-o", tmp_path, "--name", "forced", "--route", tmp_path / "route.json")
    assert exported.code == 0, exported.err
    names = {n.name for n in all_nodes(Deployment.read(tmp_path / "forced").load_model().graph)}
    assert any("layer_decoder_list.1" in name for name in names)
    assert not any(f"layer_decoder_list.{scale}" in name for scale in (2, 3) for name in names)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)).save(tmp_path / "image.png")
    checked = adroit("check", tmp_path / "forced", "--data", tmp_path / "image.png")
    assert checked.code == 0, checked.out + checked.err


def test_closed_paths_are_inside_branches(deployments: dict[str, Deployment]) -> None:
    graph = deployments["if"].load_model().graph
    outside = {n.name for n in graph.node if n.op_type == "Conv"}
    assert outside
    assert not any("cell_ops" in name or "res_up" in name or "res_down" in name for name in outside)
    assert sum(n.op_type == "If" for n in all_nodes(graph)) > 2 * (len(deployments["if"].info.outputs) + DEPTH)


def test_portable_form_of_every_form_is_standard_operators(network: DynamicRouting, tmp_path: Path) -> None:
    checkpoint = save(network, tmp_path / "checkpoint", "small")
    deployment = export_deployment(checkpoint, tmp_path, "portable", "portable", Routing("if"))
    assert {n.domain for n in all_nodes(deployment.load_model().graph)} == {""}
    x = images(1).float()
    references, limits = run_with_limits(network, x.double(), [""])
    assert compare(run(deployment, x.numpy())["logits"], references[""].numpy(), limits[""].numpy()).passed


def test_what_a_batch_executes_is_counted(deployments: dict[str, Deployment], network: DynamicRouting) -> None:
    x = images(4).float().numpy()
    gates = run(deployments["if"], x)["gates"]
    route = executed_route(deployments["if"], gates)
    assert route == Route.union([Route.from_gates(network.space, g) for g in gates])
    table = cost_table(network.space, (128, 160), 11, "small")
    assert total_counts(count_route(deployments["if"], route, 1, (128, 160))) == table.of_route(route)
    everything = total_counts(
        count_route(deployments["masked"], executed_route(deployments["masked"], gates), 1, (128, 160))
    )
    assert everything == table.of_route(Route.all_open(network.space))


def test_skip_efficiency_is_the_share_of_saved_operations_that_saved_time() -> None:
    assert skip_efficiency(50, 500, 100, 1000) == pytest.approx(1.0)
    assert skip_efficiency(100, 500, 100, 1000) == pytest.approx(0.0)
    assert skip_efficiency(120, 500, 100, 1000) == pytest.approx(-0.4)
    assert skip_efficiency(90, 1000, 100, 1000) is None


def test_a_network_without_gates_has_the_static_form_only(tmp_path: Path) -> None:
    network = routed_network(3, 8, "none", classes=11)
    checkpoint = save(network, tmp_path / "checkpoint", "none")
    deployment = export_deployment(checkpoint, tmp_path, "fixed")
    assert [v.name for v in deployment.info.inputs] == ["image"]
    x = images(2).float()
    expected = network(x.double()).detach().numpy()
    np.testing.assert_allclose(run(deployment, x.numpy())["logits"], expected, atol=1e-4 * np.abs(expected).max())
    with pytest.raises(UsageError, match="no if form"):
        export_deployment(checkpoint, tmp_path, "branches", routing=Routing("if"))
    with pytest.raises(UsageError, match="no gate threshold"):
        deployment.feeds(x.numpy(), 0.5)


def test_the_commands_take_routes(network: DynamicRouting, tmp_path: Path, adroit: Adroit) -> None:
    checkpoint = save(network, tmp_path / "checkpoint", "small")
    (tmp_path / "route.json").write_text(json.dumps(mixed_route(network, seed=1).to_json()))
    result = adroit("export", checkpoint, "-o", tmp_path, "--route", tmp_path / "route.json", alone=True)
    assert result.code == 0, result.err
    wrong = adroit("export", checkpoint, "-o", tmp_path, "--route", "all", "--routing", "if")
    assert wrong.code == 2
    assert "which --routing if does not" in wrong.err


def test_the_stem_is_part_of_the_record(tmp_path: Path) -> None:
    """So that what the deployment's image costs is counted right."""
    known, stem = architecture_named("dynamic-small"), StemShape(12, separable=False)
    other = routed_network(DEPTH, WIDTH, "small", classes=11, stem=stem)
    arguments = {"depth": DEPTH, "width": WIDTH, "gate": "small", "stem_channels": 12, "separable_stem": False}
    config = CheckpointConfig("dynamic-small", known.preprocessing, {**arguments, "classes": 11})
    save_checkpoint(tmp_path / "checkpoint", other.float(), config)
    route = Route.none(other.space)
    deployment = export_deployment(tmp_path / "checkpoint", tmp_path, "stem", routing=Routing("static", route))
    counted = total_counts(count_route(Deployment.read(deployment.path), route, 1, (128, 160)))
    assert counted == cost_table(other.space, (128, 160), 11, "small", stem=stem).of_route(route, baked=True)
    x = images(1).float()
    expected = other.double()(x.double(), route=route).detach().numpy()
    np.testing.assert_allclose(run(deployment, x.numpy())["logits"], expected, atol=1e-4 * np.abs(expected).max())


def test_a_model_that_holds_a_size_is_refused() -> None:
    from adroit.deploy.export.routed import _free_sizes

    text = (
        '<ir_version: 10, opset_import: ["" : 18]> g (float[n,3,32,32] image) => (float[n,3,32,32] logits) {'
        " shape = Constant <value_ints = [-1, 3, 32, 32]> () logits = Reshape(image, shape) }"
    )
    import onnx_ir as ir

    with pytest.raises(UnsupportedModel, match="holds a size"):
        _free_sizes(ir.serde.deserialize_model(onnx.parser.parse_model(text)).graph, 32)
