"""RoutingDecision: portable body and native library against plain loops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, RuntimeException

from adroit.models.routing.route import CLOSED_BELOW
from tests.operators.harness import FORMS, node_model, run_node


@dataclass(frozen=True)
class Case:
    """One row of the table: paths of each node, samples, columns of the two matrices."""

    name: str
    paths: tuple[int, ...]
    batch: int = 1
    reached: int = 4
    shown: int = 9


CASES = [
    Case("one node, one path", (1,), 1, 1, 1),
    Case("a whole layer", (2, 3, 3, 2)),
    Case("a layer of a batch", (2, 3, 3, 2), 7),
    Case("the first layer", (2, 3), 3, 3, 14),
]
BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
BY_FORM = pytest.mark.parametrize("form", FORMS)


def make_inputs(case: Case) -> dict[str, np.ndarray]:
    random = np.random.default_rng(len(case.name))
    nodes, paths = len(case.paths), sum(case.paths)
    gates = random.uniform(0, 1, (case.batch, paths)) * (random.random((case.batch, paths)) < 0.5)
    # Gates below the limit, alone and together: some nodes close although a gate is above 0.
    tiny = random.random(gates.shape) < 0.3
    gates[tiny] = random.uniform(0, 0.8 * CLOSED_BELOW, tiny.sum())
    owners = np.repeat(np.arange(nodes), case.paths)
    states = paths + 3 * nodes
    inputs = {
        "gates": gates,
        "live": random.random((case.batch, nodes)) < 0.7,
        "belongs": np.eye(nodes)[owners],
        "reach": random.random((states, case.reached)) < 0.15,
        "shown": random.random((states, case.shown)) < 0.15,
    }
    return {name: value.astype(np.float32) for name, value in inputs.items()}


def expected(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    gates, live, belongs = (inputs[name].astype(np.float64) for name in ("gates", "live", "belongs"))
    counted, opened = np.zeros_like(gates), np.zeros_like(live)
    for n in range(len(gates)):
        for node in range(live.shape[1]):
            mine = belongs[:, node] == 1
            if live[n, node] and np.float32(gates[n, mine].sum()) >= np.float32(CLOSED_BELOW):
                opened[n, node] = 1
                counted[n, mine] = gates[n, mine]
    states = np.concatenate([counted, opened, 1 - opened, live], 1)
    return [counted, opened, states @ inputs["reach"] > 0, (states @ inputs["shown"] > 0).any(0)]


@BY_NAME
@BY_FORM
def test_it_decides_as_the_rules_say(case: Case, form: str) -> None:
    inputs = make_inputs(case)
    results = run_node(node_model("RoutingDecision", inputs, {}), inputs, form)
    for result, right in zip(results, expected(inputs), strict=True):
        assert np.array_equal(result, right.astype(result.dtype))


@BY_FORM
def test_a_node_just_at_the_limit_is_open(form: str) -> None:
    inputs = make_inputs(CASES[0]) | {"live": np.ones((1, 1), np.float32)}
    at, below = np.float32(CLOSED_BELOW), np.nextafter(np.float32(CLOSED_BELOW), np.float32(0))
    for gate, opened in ((at, 1.0), (below, 0.0)):
        feeds = inputs | {"gates": np.array([[gate]], np.float32)}
        assert run_node(node_model("RoutingDecision", feeds, {}), feeds, form)[1] == opened


@pytest.mark.parametrize("name", ["live", "belongs", "reach", "shown"])
def test_the_native_library_refuses_tensors_that_do_not_fit(name: str) -> None:
    inputs = make_inputs(CASES[1])
    inputs[name] = np.concatenate([inputs[name]] * 2, 0)
    with pytest.raises((InvalidArgument, RuntimeException), match=name):
        run_node(node_model("RoutingDecision", inputs, {}), inputs, "native")
