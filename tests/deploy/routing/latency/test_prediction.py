"""A prediction is scaled by what the reference run takes, and by nothing else: planted shifts and planted misfits."""

from __future__ import annotations

import numpy as np
import pytest

from adroit.deploy.deployment.latency_table import UNSTEADY, LatencyTable, Speed, parts_of
from adroit.deploy.measure.timing import BLOCK, PATIENCE, times_in_turns
from adroit.deploy.routing.latency.prediction import check_prediction
from adroit.deploy.routing.latency.speed import speed_of
from adroit.deploy.routing.latency.table import fit_parts, random_routes
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace
from tests.deploy.measure.clock import FakeClock

SPACE = RoutingSpace(4, 8)
ROUTES = random_routes(SPACE, 32)
COSTS = {part: 0.1 + 0.05 * i for i, part in enumerate(parts_of(Route.none(SPACE)))}


def takes(route: Route) -> float:
    """Milliseconds of the planted machine along `route`."""
    return sum(COSTS[part] * count for part, count in parts_of(route).items())


@pytest.fixture
def table() -> LatencyTable:
    parts, error = fit_parts(ROUTES, np.array([takes(route) for route in ROUTES]))
    return LatencyTable((64, 64), parts, error, Speed(10.0, 0.01), "", {}, {})


def test_the_reference_shows_a_slower_machine(table: LatencyTable) -> None:
    result = check_prediction(table, Speed(12.5, 0.02), ROUTES, [1.25 * takes(route) for route in ROUTES])
    assert result.scale == pytest.approx(1.25) and result.steady
    assert result.error == pytest.approx((0.0, 0.0), abs=1e-9)
    assert result.unscaled_error == pytest.approx((0.2, 0.2))
    assert "0.0% (95th percentile), scaled by 1.250" in str(result) and "(20.0% unscaled)" in str(result)


def test_images_that_take_longer_than_their_routes_are_not_made_to_fit(table: LatencyTable) -> None:
    """The whole set is 1.25 times as slow as predicted, on a machine as quick as before."""
    result = check_prediction(table, Speed(10.0, 0.01), ROUTES, [1.25 * takes(route) for route in ROUTES])
    assert result.scale == 1.0 and result.error == result.unscaled_error == pytest.approx((0.2, 0.2))
    assert "in turns" in str(result)
    half = [takes(route) * (1.25 if i % 2 else 1.0) for i, route in enumerate(ROUTES)]
    slower = check_prediction(table, Speed(20.0, 0.01), ROUTES, [2.0 * milliseconds for milliseconds in half])
    assert slower.error[1] == pytest.approx(0.2)


@pytest.mark.parametrize("which", ["table", "images"])
def test_an_unsteady_speed_is_reported(which: str, table: LatencyTable) -> None:
    wild, calm = Speed(10.0, UNSTEADY + 0.001), Speed(10.0, UNSTEADY)
    before, now = (wild, calm) if which == "table" else (calm, wild)
    milliseconds = [takes(route) for route in ROUTES]
    unsteady = check_prediction(LatencyTable((64, 64), table.parts, 0.0, before, "", {}, {}), now, ROUTES, milliseconds)
    assert not unsteady.steady and "do not rely on it" in str(unsteady)
    quiet = check_prediction(LatencyTable((64, 64), table.parts, 0.0, calm, "", {}, {}), calm, ROUTES, milliseconds)
    assert quiet.steady and "do not rely on it" not in str(quiet)


def test_a_speed_is_of_runs_in_their_order() -> None:
    assert speed_of(np.full((5, 2), 4.0)) == Speed(4.0, 0.0)
    result = speed_of(np.array([[8.0, 8.0], [8.0, 8.0], [8.0, 8.0], [8.0, 8.0], [10.0, 10.0]]))
    assert result == Speed(8.0, 0.25) and not result.steady


def test_a_change_of_speed_meets_groups_that_take_turns_alike() -> None:
    """A third of the way through it takes twice as long: measured one after the other, groups would differ by 2."""
    clock = FakeClock(slow_from=2.0)
    short, long = times_in_turns([clock.calls(*[0.004] * 40), clock.calls(*[0.008] * 20)], 6.0, 5, clock)
    assert short.shape[1] == 40 and long.shape[1] == 20 and len(short) == len(long) >= 5
    assert set(np.unique(short.round(6))) == {4.0, 8.0}
    ratios = np.median(long, axis=0).mean() / np.median(short, axis=0).mean()
    assert ratios == pytest.approx(2.0, rel=0.05)
    assert speed_of(short).spread > UNSTEADY


def test_measuring_goes_on_while_medians_are_not_known() -> None:
    clock, random = FakeClock(), np.random.default_rng(0)
    steady = clock.calls(*[0.01] * 10)
    restless = [lambda: clock.call(0.01 * float(random.uniform(0.2, 1.8)))] * 10
    times_in_turns([steady], 1.0, 2, clock)
    spent = clock.now
    assert spent == pytest.approx(1.0, abs=0.15)
    times_in_turns([restless], 1.0, 2, clock)
    assert 1.5 < clock.now - spent < PATIENCE + 0.2


def test_a_block_begins_with_a_run_that_is_not_measured() -> None:
    """The first run of a session after another one's takes longer: that must not be what is measured."""
    clock, last = FakeClock(), -1

    def run(session: int) -> None:
        nonlocal last
        clock.call(0.01 if session == last else 0.05)
        last = session

    groups = [[lambda session=session: run(session)] * (2 * BLOCK) for session in range(3)]
    for times in times_in_turns(groups, 0.0, 5, clock):
        assert np.unique(times.round(6)).tolist() == [10.0]
