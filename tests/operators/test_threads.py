"""A node gives the same result on one thread and several, and to several threads that call it at once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pytest

from adroit.deploy.runtimes.native import native_library
from adroit.errors import EnvironmentFault
from tests.operators.harness import node_model

CALLS = 300  # trials on all threads and on one, what was faster, and trials again


def _inputs(operator: str) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    random = np.random.default_rng(0)
    if operator == "RoutingGate":
        shapes = {"X": (1, 32, 64, 64), "W1": (16, 32), "b1": (16,), "W2": (3, 16), "b2": (3,), "threshold": (1,)}
        return {k: random.normal(size=s).astype(np.float32) for k, s in shapes.items()}, {"shrink": 1}
    if operator == "BilinearUpsample":
        return {"X": random.normal(size=(1, 19, 64, 64)).astype(np.float32)}, {"factor": 4}
    if operator == "AdaptiveFilter":
        shapes = {"X": (1, 64, 40, 40), "logits": (1, 72, 40, 40)}
        attributes = {"kernel_size": 3, "stride": 1, "groups": 8, "joint_softmax": 1}
        return {k: random.normal(size=s).astype(np.float32) for k, s in shapes.items()}, attributes
    attributes = {"strides": [1, 1], "pads": [1, 1, 1, 1], "activation": 1}
    kind = np.uint8 if operator.startswith("Q") else np.float32
    x, w = (random.integers(0, 256, s).astype(kind) for s in ((1, 32, 28, 28), (72, 32, 3, 3)))
    scale, shift = np.full(72, 0.01, np.float32), np.full(72, 250.0, np.float32)
    if operator.startswith("Q"):
        attributes |= {"x_zero_point": 0, "output_type": 2, "output_scale": 1.0, "output_zero_point": 0}
    return {"X": x, "W": w, "scale": scale, "shift": shift}, attributes


def _session(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        options.register_custom_ops_library(str(native_library()))
    except EnvironmentFault as error:
        pytest.skip(error.message)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _model_and_feeds(operator: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    inputs, attributes = _inputs(operator)
    model = node_model(operator, inputs, attributes, tuple(k for k in inputs if k not in ("X", "logits")))
    return model, {k: v for k, v in inputs.items() if k in ("X", "logits")}


@pytest.mark.parametrize(
    "operator", ["AdderConv2d", "QAdderConv2d", "AdaptiveFilter", "BilinearUpsample", "RoutingGate"]
)
def test_native_results_stay_the_same_from_call_to_call(operator: str) -> None:
    model, feeds = _model_and_feeds(operator)
    results = {}
    for threads in (1, 2):
        session = _session(model, threads)
        results[threads] = [session.run(None, feeds)[0] for _ in range(CALLS)]
    expected = results[1][0]
    assert expected.std() > 0
    for result in (*results[1], *results[2]):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("operator", ["AdderConv2d", "QAdderConv2d", "AdaptiveFilter", "RoutingGate"])
def test_calls_of_more_shapes_than_a_node_keeps_plans_for_do_not_disturb_each_other(operator: str) -> None:
    """A node makes a plan for each shape and keeps a few (plan_cache.h); other threads may be using an old one."""
    model, feeds = _model_and_feeds(operator)

    def of_rows(rows: int) -> Mapping[str, np.ndarray]:
        return {name: np.ascontiguousarray(value[:, :, :rows]) for name, value in feeds.items()}

    shapes = [of_rows(rows) for rows in range(6, 13)]
    expected = [_session(model, 1).run(None, shape)[0] for shape in shapes]
    shared = _session(model, 1)

    def call(number: int) -> tuple[int, np.ndarray]:
        index = number % len(shapes)
        return index, shared.run(None, shapes[index])[0]

    with ThreadPoolExecutor(4) as pool:
        for index, result in pool.map(call, range(40 * len(shapes))):
            np.testing.assert_array_equal(result, expected[index])
