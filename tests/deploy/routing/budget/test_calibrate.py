"""A calibrated table holds what the float64 network does at each of its thresholds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from adroit.deploy.deployment.budget_table import BudgetTable
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.latency_table import LatencyTable, Speed, parts_of
from adroit.deploy.deployment.routed import routing_space
from adroit.deploy.measure.timing import machine_facts
from adroit.deploy.routing.budget import calibrate as calibrate_module
from adroit.deploy.routing.budget.calibrate import calibrate
from adroit.deploy.routing.budget.drift import BINS
from adroit.deploy.routing.budget.stability import instability
from adroit.deploy.routing.budget.table import read_table
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet
from adroit.models.metrics.segmentation import ConfusionMatrix
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.cost import cost_table
from adroit.models.routing.route import Route
from tests.conftest import Adroit
from tests.deploy.routing.budget.conftest import CLASSES
from tests.deploy.routing.conftest import PIXELS, pixels
from tests.models.networks.routed import SIZE

TORCH = RuntimeOptions(RuntimeName.torch, threads=1)


@pytest.fixture(scope="module")
def table(routed_deployment: Deployment, options: RuntimeOptions, labeled: ImageSet) -> BudgetTable:
    """A table with all thresholds: the stability of a few images of noise is chance."""
    return calibrate(routed_deployment, labeled, options, steady=1.0, seconds=0.1)


def test_thresholds_spread_over_the_costs_within_reach(table: BudgetTable, network: DynamicRouting) -> None:
    thresholds = [s.threshold for s in table.settings]
    costs = np.array([s.gigaflops.mean for s in table.settings])
    assert len(thresholds) >= 9
    assert thresholds == sorted(set(thresholds)) and thresholds[0] == 0.0 and thresholds[-1] == 1.0
    assert (np.diff(costs) < 0).all()
    # Thirteen settings: a step of a twelfth if they were even.
    assert -np.diff(costs).min() < (costs[0] - costs[-1]) / 4
    closed = cost_table(network.space, SIZE, CLASSES, "small").of_route(Route.none(network.space)).total
    assert costs[-1] == pytest.approx(closed / 1e9)


def test_each_row_is_what_the_network_does(table: BudgetTable, network: DynamicRouting, labeled: ImageSet) -> None:
    own, paper = (cost_table(network.space, SIZE, CLASSES, "small", c) for c in ("own", "paper"))
    x = torch.from_numpy(PIXELS.values(np.stack([labeled.load(i) for i in range(12)]))).double()
    assert labeled.maps is not None
    labels = np.stack([labeled.maps(i) for i in range(12)])
    with torch.no_grad():
        full = network(x).argmax(1).numpy()
        for setting in table.settings[::3]:
            logits, gates = network(x, torch.tensor([setting.threshold]), with_gates=True)
            routes = [Route.from_gates(network.space, values) for values in gates.numpy()]
            result = logits.argmax(1).numpy()
            for counted, costs in ((setting.gigaflops, own), (setting.paper_gigaflops, paper)):
                each = [costs.of_route(route).total / 1e9 for route in routes]
                assert counted.mean == pytest.approx(np.mean(each))
                assert counted.worst == pytest.approx(max(each))
            assert setting.routes == len(set(routes))
            assert setting.instability == pytest.approx(instability([own.of_route(r).total for r in routes]))
            assert setting.agreement == pytest.approx((result == full).mean(), abs=1e-3)
            matrix = ConfusionMatrix(CLASSES, 255)
            matrix.add(result, labels)
            assert setting.accuracy == pytest.approx(matrix.mean_intersection_over_union, abs=1e-3)
            assert 0 < setting.milliseconds.mean <= setting.milliseconds.worst
    assert table.settings[0].agreement == 1.0
    assert table.images == 12 and table.size == SIZE


def test_the_table_counts_every_gate_of_every_image(table: BudgetTable, labeled: ImageSet) -> None:
    totals = {sum(setting.gates or ()) for setting in table.settings}
    assert len(totals) == 1
    assert totals.pop() % len(labeled) == 0
    assert table.settings[-1].gates is not None
    assert table.settings[-1].gates[1:] == [0] * (BINS - 1)  # every path closed


def test_images_of_several_sizes_are_refused(routed_deployment: Deployment) -> None:
    arrays = [*pixels(2, SIZE), *pixels(1, (190, 130))]
    with pytest.raises(UsageError, match="one image size") as refused:
        calibrate(routed_deployment, ImageSet(["a", "b", "c"], lambda i: arrays[i]), TORCH)
    assert refused.value.facts == {"a": "128 x 160", "c": "190 x 130"}


def test_the_table_that_profile_stored_is_used_and_named(
    routed_deployment: Deployment, options: RuntimeOptions, labeled: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The machine now takes 1.2 times as long for the same run as when the table was measured.
    monkeypatch.setattr(calibrate_module, "speed_of", lambda milliseconds: Speed(12.0, 0.01))
    if options.operators != OperatorForm.native:
        pytest.skip("the native operators are not built here")
    with open_runtime(routed_deployment, options) as runtime:
        facts = dict(runtime.facts)
    parts = dict.fromkeys(parts_of(Route.none(routing_space(routed_deployment))), 3.0)
    model = routed_deployment.info.model.sha256
    table = LatencyTable(SIZE, parts, 0.01, Speed(10.0, 0.01), model, machine_facts(), facts)
    deployment = Deployment(routed_deployment.path, msgspec.structs.replace(routed_deployment.info, latency=table))
    result = calibrate(deployment, labeled.first(2), options, settings=2, seconds=0.1)
    assert result.facts["predicted by"] == "the table that adroit profile stored"
    # With everything closed: the parts that every route runs, of which "always" is one; scaled.
    predicted = result.settings[-1].predicted_milliseconds
    assert predicted is not None
    assert (predicted.mean, predicted.worst) == (pytest.approx(3.6), pytest.approx(3.6))
    assert "scaled by 1.200" in result.facts["prediction"] and "unscaled" in result.facts["prediction"]
    elsewhere = Deployment(
        deployment.path, msgspec.structs.replace(deployment.info, latency=msgspec.structs.replace(table, size=(64, 64)))
    )
    measured = calibrate(elsewhere, labeled.first(2), options, settings=2, seconds=0.1)
    assert measured.facts["predicted by"].startswith("a table measured with this one; what adroit profile stored")
    slow = LatencyTable(SIZE, parts, 0.01, Speed(5.0, 0.01), model, machine_facts(), facts)
    deployment = Deployment(deployment.path, msgspec.structs.replace(deployment.info, latency=slow))
    refused = calibrate(deployment, labeled.first(2), options, settings=2, seconds=0.1)
    assert refused.facts["predicted by"].endswith("of another speed: the same run takes 2.40 times as long now")


def test_unsteady_thresholds_are_left_out(
    routed_deployment: Deployment, options: RuntimeOptions, labeled: ImageSet, table: BudgetTable
) -> None:
    result = calibrate(routed_deployment, labeled, options, steady=0.0, seconds=0.1)
    assert all(s.instability == 0.0 or s.threshold in (0.0, 1.0) for s in result.settings)
    assert len(result.settings) < len(table.settings) and "left out" not in table.facts
    count = int(result.facts["left out"].split()[0])
    assert len(result.settings) + count >= len(table.settings) and "above 0.0%" in result.facts["left out"]


def test_images_without_labels_have_no_accuracy(
    routed_deployment: Deployment, options: RuntimeOptions, labeled: ImageSet
) -> None:
    result = calibrate(routed_deployment, ImageSet(labeled.names[:2], labeled.load), options, settings=2, seconds=0.1)
    assert [(s.threshold, s.accuracy) for s in result.settings] == [(0.0, None), (1.0, None)]


@pytest.fixture
def folder(labeled: ImageSet, tmp_path: Path) -> Path:
    """Five of the images with their maps, as files."""
    assert labeled.maps is not None
    for index, name in enumerate(labeled.names[:5]):
        for part, values in (("images", labeled.load(index)), ("labels", labeled.maps(index))):
            (tmp_path / "data" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(tmp_path / "data" / part / name)
    return tmp_path / "data"


def test_the_command_stores_the_table_and_writes_a_report(
    routed_deployment: Deployment, options: RuntimeOptions, folder: Path, tmp_path: Path, adroit: Adroit
) -> None:
    path = shutil.copytree(routed_deployment.path, tmp_path / "deployment")
    forms = ["--operators", options.operators, "--threads", 1]
    done = adroit(
        "budget",
        path,
        "--data",
        folder,
        "--settings",
        6,
        "--accuracy-drop",
        50,
        "--html",
        tmp_path / "r.html",
        "--instability",
        1,
        "--seconds",
        0.1,
        *forms,
    )
    assert done.code == 0, done.err
    stored = read_table(Deployment.read(path))
    assert stored.images == 5
    page, beside = (tmp_path / "r.html").read_text(), json.loads((tmp_path / "r.json").read_text())
    assert beside["table"] == json.loads(json.dumps(stored.to_json()))
    assert done.out.splitlines()[-1] == f"threshold {beside['chosen_threshold']:g}" == "threshold 1"
    assert page.count("<svg") == 2 and page.count("<circle") == 2 * len(stored.settings)
    assert page.count("dot marked") == 2 and page.count("class=chosen") == 1
    assert "http" not in page.replace("http-equiv", "") and "src=" not in page

    assert "between parts of the images" in done.out and "unsteady" in page

    gflops = stored.settings[1].gigaflops.mean
    looked_up = json.loads(adroit("budget", path, "--gflops", gflops, "--json").out)
    assert looked_up["chosen_threshold"] == stored.settings[1].threshold
    assert looked_up["table"] == beside["table"]

    run = ["run", path, "--data", folder / "images", *forms, "-o"]
    assert adroit(*run, tmp_path / "held.npz", "--gflops", gflops).code == 0
    assert adroit(*run, tmp_path / "set.npz", "--gate-threshold", stored.settings[1].threshold).code == 0
    held, plain = np.load(tmp_path / "held.npz"), np.load(tmp_path / "set.npz")
    np.testing.assert_array_equal(held["logits"], plain["logits"])
    assert (held["gates"] > 0).sum() > 0
    both = adroit(*run, tmp_path / "x.npz", "--gflops", gflops, "--gate-threshold", 0.1)
    assert both.code == 2 and "leave --gate-threshold or --gflops out" in both.err


def test_a_report_that_its_json_would_overwrite_is_refused(
    routed_deployment: Deployment, tmp_path: Path, adroit: Adroit
) -> None:
    done = adroit("budget", routed_deployment.path, "--html", tmp_path / "report.json")
    assert done.code == 2 and "ends in .html" in done.err
    assert not list(tmp_path.iterdir())


def test_a_failed_calibration_changes_nothing(
    routed_deployment: Deployment, folder: Path, tmp_path: Path, adroit: Adroit
) -> None:
    path = shutil.copytree(routed_deployment.path, tmp_path / "deployment")
    before = (path / "adroit.json").read_bytes()
    wrong = folder / "labels" / "4.png"
    Image.fromarray(np.full(SIZE, 77, np.uint8)).save(wrong)  # no class: found when the image is run
    done = adroit("budget", path, "--data", folder, "--settings", 2, "--html", tmp_path / "r.html", "--threads", 1)
    assert done.code == 2, done.err
    assert "77" in done.err
    assert (path / "adroit.json").read_bytes() == before
    assert not (tmp_path / "r.html").exists() and not (tmp_path / "r.json").exists()
