"""Routes can be told and their latency predicted; images, worst case and losses are measured."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from deploy.entry import Entry
from deploy.profile.forced import ForcedRuntime
from deploy.profile.latency_table import LatencyTable, fit_parts, parts_of, random_routes, stored_latency_table
from deploy.profile.route_latency import measure_routes
from deploy.profile.routed import executed_route, routing_space
from deploy.profile.speed import UNSTEADY, Speed
from deploy.profile.timing import machine_facts
from deploy.routes.collect import collect_routes
from deploy.runtimes.choices import OperatorForm
from deploy.runtimes.open import RuntimeOptions, open_runtime
from models.data.images import ImageSet
from models.errors import UnsupportedModel, UsageError
from models.routing.route import Route
from models.routing.space import RoutingSpace


@pytest.fixture(scope="module")
def native(options: RuntimeOptions) -> RuntimeOptions:
    if options.operators != OperatorForm.native:
        pytest.skip("the native operators are not built here")
    return options


@pytest.mark.parametrize("form", ["if", "masked"])
def test_a_deployment_takes_the_route_that_it_is_told(
    form: str, entries: dict[str, Entry], native: RuntimeOptions
) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 160, 128), np.float32)
    with ForcedRuntime(entries[form], native) as runtime:
        for route in random_routes(runtime.space, 12):
            gates = runtime.run(runtime.feeds_along(x, route))["gates"]
            assert Route.from_gates(runtime.space, gates[0]) == route
            assert set(np.unique(gates)) <= {0.0, 1.0}
            if form == "if":
                assert executed_route(entries[form], gates) == route


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
        assert table.predict(unseen.normalised()) == pytest.approx(takes(unseen.normalised()))
    assert LatencyTable.from_json(json.loads(json.dumps(table.to_json()))) == table


def test_a_damaged_table_is_refused() -> None:
    with pytest.raises(UsageError, match="not a table of latencies"):
        LatencyTable.from_json({"size": [1]})


def test_a_portable_deployment_cannot_be_told(entries: dict[str, Entry], native: RuntimeOptions) -> None:
    from deploy.profile.forced import with_forced_gates

    model = entries["if"].load_model()
    for node in model.graph.node:
        node.op_type = "Other" if node.op_type == "RoutingGate" else node.op_type
    with pytest.raises(UnsupportedModel, match="has all its gates"):
        with_forced_gates(model, RoutingSpace(4, 8))


def test_images_are_measured_beside_the_open_network(
    entries: dict[str, Entry], native: RuntimeOptions, image_set: ImageSet
) -> None:
    entry = entries["if"]
    samples = collect_routes(entry, native, image_set)
    found = measure_routes(entry, native, image_set, samples, seconds=0.1)
    assert [image.image for image in found.images] == list(image_set.names)
    # Two images have another size.
    assert [image.measured is not None for image in found.images] == [True] * 8 + [False] * 2
    assert found.overall.images == 8 and 0 < found.overall.share < 1
    assert min(found.all_open, found.static_open, found.table.predict(samples[0].route)) > 0
    assert 0 < found.memory.loaded <= found.memory.running
    assert sum(route.images for route in found.routes) <= 8
    for route in found.routes:
        assert route.losses is not None
        assert route.losses.total == pytest.approx(route.milliseconds - route.share * found.static_open)
    assert found.prediction.scale == 1.0 and found.prediction.error == found.prediction.unscaled_error
    assert found.prediction.speed == found.table.speed
    json.dumps(found.to_json())


def stored(entry: Entry, runtime: dict[str, Any], **changes: Any) -> Entry:
    """With a table measured as a run here would be, but for `changes`."""
    parts = parts_of(Route.none(routing_space(entry)))
    model, speed = entry.info.model["sha256"], Speed(10.0, 0.01)
    table = LatencyTable((160, 128), dict.fromkeys(parts, 0.5), 0.01, speed, model, machine_facts(), runtime)
    values = {**table.to_json(), **changes}
    return Entry(entry.path, dataclasses.replace(entry.info, latency=json.loads(json.dumps(values))))


def test_the_latencies_that_profile_stored_serve_where_they_fit(
    entries: dict[str, Entry], native: RuntimeOptions
) -> None:
    entry, size, now = entries["if"], (160, 128), Speed(10.0, 0.01)
    with open_runtime(entry, native) as runtime:
        facts = dict(runtime.facts)
    found, _ = stored_latency_table(stored(entry, facts), size, facts, now)
    assert found is not None
    assert found.predict(Route.none(routing_space(entry))) == pytest.approx(0.5)
    assert found.predict(Route.all_open(routing_space(entry))) > 5
    assert stored_latency_table(entry, size, facts, now) == (None, "there is none")

    def unfit(entry: Entry, size: tuple[int, int] = size, **changed: Any) -> str:
        table, why = stored_latency_table(entry, size, {**facts, **changed}, now)
        assert table is None
        return why

    another = "of another machine, runtime, model or size"
    assert unfit(stored(entry, facts), (160, 160)) == another
    for changed in ({"threads": 2}, {"operators": "portable bodies"}, {"runtime": "onnxruntime 1.0"}):
        assert unfit(stored(entry, facts), **changed) == another
    assert unfit(stored(entry, facts, model="0" * 64)) == another
    assert unfit(stored(entry, facts, machine={**machine_facts(), "cpu": "another"})) == another
    busy = stored(entry, facts, machine={**machine_facts(), "load": 64.0})
    assert stored_latency_table(busy, size, facts, now)[0] is not None


def test_a_stored_table_is_refused_where_speeds_are_unknown_or_too_far_apart(
    entries: dict[str, Entry], native: RuntimeOptions
) -> None:
    entry, size = entries["if"], (160, 128)
    for milliseconds, fits in ((14.9, True), (15.1, False), (6.7, True), (6.6, False)):
        found, why = stored_latency_table(stored(entry, {}), size, {}, Speed(milliseconds, 0.01))
        assert (found is not None) == fits
        assert bool(why) != fits
        if found is not None:
            assert found.speed == Speed(10.0, 0.01)  # as measured: who asks scales it
    assert "1.51 times as long" in stored_latency_table(stored(entry, {}), size, {}, Speed(15.1, 0.01))[1]
    wild = stored(entry, {}, speed={"milliseconds": 10.0, "spread": UNSTEADY + 0.01})
    assert "speed changed by 21.0%" in stored_latency_table(wild, size, {}, Speed(10.0, 0.01))[1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"parts": {"always": 1.0}}, "lacks parts"),
        ({"parts": None}, "not a table of latencies"),
        ({"parts": {"always": "long"}}, "not a table of latencies"),
        ({"error": -1.0}, "not a table of latencies"),
        ({"speed": {"milliseconds": 0.0, "spread": 0.0}}, "not a table of latencies"),
        ({"speed": {"milliseconds": 1.0}}, "not a table of latencies"),
    ],
)
def test_stored_latencies_that_are_damaged_are_one_error(
    changes: dict[str, Any], says: str, entries: dict[str, Entry]
) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        stored_latency_table(stored(entries["if"], {}, **changes), (160, 128), {}, Speed(10.0, 0.01))
    assert "adroit profile" in str(refused.value.hint)
