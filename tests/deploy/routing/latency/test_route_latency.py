"""Routes can be forced and their latency predicted; images, worst case and losses are measured."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from adroit.deploy.cli.text import describe_latency
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.latency_table import UNSTEADY, LatencyTable, Speed, parts_of
from adroit.deploy.deployment.routed import executed_route, routing_space
from adroit.deploy.measure.timing import machine_facts
from adroit.deploy.routing.collect import collect_routes
from adroit.deploy.routing.latency.forced import ForcedRuntime
from adroit.deploy.routing.latency.route_latency import measure_routes
from adroit.deploy.routing.latency.table import fit_parts, random_routes, stored_latency_table
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UnsupportedModel, UsageError
from adroit.models.data.images import ImageSet
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace


@pytest.fixture(scope="module")
def native(options: RuntimeOptions) -> RuntimeOptions:
    if options.operators != OperatorForm.native:
        pytest.skip("the native operators are not built here")
    return options


@pytest.mark.parametrize("form", ["if", "masked"])
def test_a_deployment_takes_the_route_that_is_forced(
    form: str, deployments: dict[str, Deployment], native: RuntimeOptions
) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 160, 128), np.float32)
    with ForcedRuntime(deployments[form], native) as runtime:
        for route in random_routes(runtime.space, 12):
            gates = runtime.run(runtime.feeds_along(x, route))["gates"]
            assert Route.from_gates(runtime.space, gates[0]) == route
            assert set(np.unique(gates)) <= {0.0, 1.0}
            if form == "if":
                assert executed_route(deployments[form], gates) == route


def test_parts_count_what_runs() -> None:
    space = RoutingSpace(4, 8)
    every, none = parts_of(Route.all_open(space)), parts_of(Route.none(space))
    assert every["cell 0"] == 5 and every["gate 3"] == 2 and every["keep 1"] == 4 and every["up 3"] == 1
    assert none["always"] == 1 and sum(none.values()) == 1


def test_times_that_are_sums_of_parts_are_predicted_exactly() -> None:
    space = RoutingSpace(6, 8)
    random = np.random.default_rng(1)
    true = {part: float(random.uniform(0.01, 0.3)) for part in parts_of(Route.none(space))} | {"always": 4.0}

    def takes(route: Route) -> float:
        return sum(true[part] * count for part, count in parts_of(route).items())

    routes = random_routes(space, 96)
    parts, error = fit_parts(routes, np.array([takes(route) for route in routes]))
    assert error < 1e-9
    table = LatencyTable((64, 64), parts, error, Speed(10.0, 0.01), "", {}, {})
    chances = random.random((20, len(space.paths)))
    for unseen in (Route(space, tuple(row < 0.4)) for row in chances):
        assert table.predict(unseen.normalized()) == pytest.approx(takes(unseen.normalized()))
    assert LatencyTable.from_json(json.loads(json.dumps(table.to_json()))) == table


def test_a_damaged_table_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the table of latencies: size must be \[height, width\] in pixels"):
        LatencyTable.from_json({"size": [1]})


def test_no_route_can_be_forced_on_a_portable_deployment(
    deployments: dict[str, Deployment], native: RuntimeOptions
) -> None:
    from adroit.deploy.routing.latency.forced import with_forced_gates

    model = deployments["if"].load_model()
    for node in model.graph.node:
        node.op_type = "Other" if node.op_type == "RoutingGate" else node.op_type
    with pytest.raises(UnsupportedModel, match="has all its gates"):
        with_forced_gates(model, RoutingSpace(4, 8))


def test_images_are_measured_beside_the_open_network(
    deployments: dict[str, Deployment], native: RuntimeOptions, image_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = deployments["if"]
    monkeypatch.setattr(Speed, "steady", property(lambda speed: True))  # whatever else this machine does
    samples = collect_routes(deployment, native, image_set)
    result = measure_routes(deployment, native, image_set, samples, seconds=0.1)
    assert [image.image for image in result.images] == list(image_set.names)
    # Two images have another size.
    assert [image.measured is not None for image in result.images] == [True] * 8 + [False] * 2
    assert result.overall.images == 8 and 0 < result.overall.share < 1
    assert min(result.all_open, result.static_open, result.table.predict(samples[0].route)) > 0
    assert 0 < result.memory.loaded <= result.memory.running
    assert sum(route.images for route in result.routes) <= 8
    for route in result.routes:
        assert route.losses is not None
        assert route.losses.total == pytest.approx(route.milliseconds - route.share * result.static_open)
    assert result.prediction.scale == 1.0 and result.prediction.error == result.prediction.unscaled_error
    assert result.prediction.speed == result.table.speed
    json.dumps(result.to_json())


def test_on_a_restless_machine_no_losses_are_shown(
    deployments: dict[str, Deployment], native: RuntimeOptions, image_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Speed, "steady", property(lambda speed: False))
    samples = collect_routes(deployments["if"], native, image_set.first(2))
    result = measure_routes(deployments["if"], native, image_set.first(2), samples, seconds=0.01)
    assert result.routes and all(route.losses is None for route in result.routes)
    assert "the machine changed its speed meanwhile" in describe_latency(result)


def stored(deployment: Deployment, runtime: dict[str, Any], **changes: Any) -> Deployment:
    """Returns the deployment with a table measured as a run here would be, but for `changes`."""
    parts = parts_of(Route.none(routing_space(deployment)))
    model, speed = deployment.info.model.sha256, Speed(10.0, 0.01)
    table = LatencyTable((160, 128), dict.fromkeys(parts, 0.5), 0.01, speed, model, machine_facts(), runtime)
    changed = LatencyTable.from_json(json.loads(json.dumps({**table.to_json(), **changes})))
    return Deployment(deployment.path, msgspec.structs.replace(deployment.info, latency=changed))


def test_the_latencies_that_profile_stored_serve_where_they_fit(
    deployments: dict[str, Deployment], native: RuntimeOptions
) -> None:
    deployment, size, now = deployments["if"], (160, 128), Speed(10.0, 0.01)
    with open_runtime(deployment, native) as runtime:
        facts = dict(runtime.facts)
    result, _ = stored_latency_table(stored(deployment, facts), size, facts, now)
    assert result is not None
    assert result.predict(Route.none(routing_space(deployment))) == pytest.approx(0.5)
    assert result.predict(Route.all_open(routing_space(deployment))) > 5
    assert stored_latency_table(deployment, size, facts, now) == (None, "there is none")

    def unfit(deployment: Deployment, size: tuple[int, int] = size, **changed: Any) -> str:
        table, why = stored_latency_table(deployment, size, {**facts, **changed}, now)
        assert table is None
        return why

    another = "of another machine, runtime, model or size"
    assert unfit(stored(deployment, facts), (160, 160)) == another
    for changed in ({"threads": 2}, {"operators": "portable bodies"}, {"runtime": "onnxruntime 1.0"}):
        assert unfit(stored(deployment, facts), **changed) == another
    assert unfit(stored(deployment, facts, model="0" * 64)) == another
    assert unfit(stored(deployment, facts, machine={**machine_facts(), "cpu": "another"})) == another
    busy = stored(deployment, facts, machine={**machine_facts(), "load": 64.0})
    assert stored_latency_table(busy, size, facts, now)[0] is not None


def test_a_stored_table_is_refused_where_speeds_are_unknown_or_too_far_apart(
    deployments: dict[str, Deployment], native: RuntimeOptions
) -> None:
    deployment, size = deployments["if"], (160, 128)
    for milliseconds, fits in ((14.9, True), (15.1, False), (6.7, True), (6.6, False)):
        result, why = stored_latency_table(stored(deployment, {}), size, {}, Speed(milliseconds, 0.01))
        assert (result is not None) == fits
        assert bool(why) != fits
        if result is not None:
            assert result.speed == Speed(10.0, 0.01)  # as measured: who asks scales it
    assert "1.51 times as long" in stored_latency_table(stored(deployment, {}), size, {}, Speed(15.1, 0.01))[1]
    wild = stored(deployment, {}, speed={"milliseconds": 10.0, "spread": UNSTEADY + 0.01})
    assert "speed changed by 21.0%" in stored_latency_table(wild, size, {}, Speed(10.0, 0.01))[1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"parts": {"always": 1.0}}, "lacks parts"),
        ({"parts": None}, "the table of latencies: "),
        ({"parts": {"always": "long"}}, "the table of latencies: "),
        ({"error": -1.0}, "the table of latencies: "),
        ({"speed": {"milliseconds": 0.0, "spread": 0.0}}, "the table of latencies: "),
        ({"speed": {"milliseconds": 1.0}}, "the table of latencies: "),
    ],
)
def test_stored_latencies_that_are_damaged_are_one_error(
    changes: dict[str, Any], says: str, deployments: dict[str, Deployment]
) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        stored_latency_table(stored(deployments["if"], {}, **changes), (160, 128), {}, Speed(10.0, 0.01))
    assert "adroit profile" in str(refused.value.hint)
