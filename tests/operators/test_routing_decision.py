"""RoutingDecision: portable body and native library against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, RuntimeException

from adroit.models.routing.route import CLOSED_BELOW
from tests.operators.cases.routing_decision import CASES, Case, expected, make_inputs
from tests.operators.harness import FORMS, node_model, run_node

BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
BY_FORM = pytest.mark.parametrize("form", FORMS)


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
