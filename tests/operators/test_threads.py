"""A node that chooses between one thread and several gives the same result whatever it chooses."""

from __future__ import annotations

import numpy as np
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


@pytest.mark.parametrize(
    "operator", ["AdderConv2d", "QAdderConv2d", "AdaptiveFilter", "BilinearUpsample", "RoutingGate"]
)
def test_native_results_stay_the_same_from_call_to_call(operator: str) -> None:
    inputs, attributes = _inputs(operator)
    model = node_model(operator, inputs, attributes, tuple(k for k in inputs if k not in ("X", "logits")))
    feeds = {k: v for k, v in inputs.items() if k in ("X", "logits")}
    results = {}
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            options.register_custom_ops_library(str(native_library()))
        except EnvironmentFault as error:
            pytest.skip(error.message)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results[threads] = [session.run(None, feeds)[0] for _ in range(CALLS)]
    expected = results[1][0]
    assert expected.std() > 0
    for result in (*results[1], *results[2]):
        np.testing.assert_array_equal(result, expected)
