"""Cost classes: no request costs more than its class allows, whatever it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import msgspec
import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.serve.cost_classes import CostClass, CostClasses
from adroit.deploy.serve.engine.budget import ModelBudget
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from adroit.errors import UsageError
from tests.deploy.serve.server import Server, running
from tests.deploy.serve.test_budget import INFER, outputs, request

# Of the `routed` model: 0.4, 0.2 and 0.1 GFLOPs at thresholds 0, 0.3 and 1, for 128 x 160 pixels.
SIZE = (128, 160)
TEXT = """
default = "free"
[class.free]
gflops = 0.25
[class.small]
gflops = 0.1
[class.paid]
token = "of-paid"
"""


@pytest.fixture
def classes(tmp_path: Path) -> CostClasses:
    (tmp_path / "classes.toml").write_text(TEXT)
    return CostClasses.read(tmp_path / "classes.toml")


def test_a_request_has_the_class_that_it_names_or_whose_token_it_carries(classes: CostClasses) -> None:
    limits = [
        classes.find(name, header).gflops
        for name, header in (
            (None, ""), (None, "Bearer of-other"), ("small", ""), (None, "Bearer of-paid"), ("paid", "Bearer of-paid"),
            ("free", "Bearer of-paid"),
        )
    ]  # fmt: skip
    assert limits == [0.25, 0.25, 0.1, float("inf"), float("inf"), 0.25]


@pytest.mark.parametrize(
    ("name", "reason"), [("paid", Reason.FORBIDDEN), ("none", Reason.INVALID), (3, Reason.INVALID)]
)
def test_a_class_with_a_token_is_not_for_requests_that_only_name_it(
    name: object, reason: Reason, classes: CostClasses
) -> None:
    with pytest.raises(Refusal) as refused:
        classes.find(name, "Bearer of-other")
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "text",
    [
        "", 'default = "free"', TEXT.replace('"free"', '"other"'), TEXT.replace('"free"', '"paid"'), TEXT + "x = 1",
        TEXT.replace("0.25", "-1"), TEXT.replace("of-paid", ""), "[",
    ],
)  # fmt: skip
def test_a_file_that_says_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "classes.toml").write_text(text)
    with pytest.raises(UsageError, match="cost classes"):
        CostClasses.read(tmp_path / "classes.toml")


REQUESTED = (
    {}, {"gate_threshold": 0.0}, {"gate_threshold": 0.7}, {"gflops": 9.0}, {"gflops": 0.2}, {"milliseconds": 99.0},
)  # fmt: skip


@pytest.mark.parametrize("limit", [0.1, 0.2, 0.25, 0.4, float("inf")])
@pytest.mark.parametrize("pixels", [0.25, 1, 2])
def test_nothing_that_a_request_says_gets_it_above_its_class(limit: float, pixels: float, repository: Path) -> None:
    budget = ModelBudget(Deployment.read(repository / "routed"))
    size = (int(SIZE[0] * pixels), SIZE[1])
    tensors = [None, np.zeros(2, np.float32), np.array([0.3, 2.0], np.float32)]
    for requested, tensor in [(requested, None) for requested in REQUESTED] + [({}, tensor) for tensor in tensors]:
        try:
            thresholds = budget.thresholds(requested, tensor, 2, size, CostClass(limit))
        except Refusal as refusal:
            # Neither the network's minimum nor what the request names is possible.
            assert refusal.reason == Reason.FORBIDDEN or requested == {"gflops": 0.2}
            assert 0.1 * pixels > min(limit, 0.2)
            continue
        assert thresholds is not None
        for threshold in thresholds:
            cost = budget.expected_gflops([threshold], size)
            assert cost is not None
            assert cost <= limit * (1 + 1e-9)


def test_a_network_without_a_table_serves_no_class_with_a_limit(repository: Path) -> None:
    deployment = Deployment.read(repository / "routed")
    bare = ModelBudget(Deployment(deployment.path, msgspec.structs.replace(deployment.info, budget=None)))
    with pytest.raises(Refusal, match="no budget table"):
        bare.thresholds({}, None, 1, SIZE, CostClass(0.4))
    assert bare.thresholds({}, None, 1, SIZE, CostClass()) is not None


@pytest.fixture(scope="module")
def classed_server(
    repository: Path, operators: OperatorForm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("classed")
    (folder / "classes.toml").write_text(TEXT)
    (folder / "token").write_text("of-operator")
    options = ("--model", "routed", "--classes", folder / "classes.toml", "--token-file", folder / "token")
    with running(folder, repository, *options, "--operators", operators.value) as server:
        yield server


@pytest.mark.parametrize(
    ("token", "parameters", "threshold"),
    [
        ("of-operator", {"gate_threshold": 0.0}, 0.3), ("of-paid", {"gate_threshold": 0.0}, 0.0),
        ("of-paid", {"cost_class": "small"}, 1.0), ("of-operator", {"cost_class": "paid"}, None),
        ("of-nobody", {}, None),
    ],
)  # fmt: skip
def test_the_server_holds_requests_to_their_class(
    token: str, parameters: dict[str, float | str], threshold: float | None, classed_server: Server,
    photographs: np.ndarray,
) -> None:  # fmt: skip
    message = request(photographs, 0, **parameters)
    with grpc.insecure_channel(classed_server.grpc) as channel:
        call = channel.unary_unary(INFER)
        metadata = [("authorization", f"Bearer {token}")]
        if threshold is None:
            with pytest.raises(grpc.RpcError) as refused:
                call(message, metadata=metadata)
            code = "PERMISSION_DENIED" if parameters else "UNAUTHENTICATED"
            assert refused.value.code() == getattr(grpc.StatusCode, code)
        else:
            _, reported = outputs(call(message, metadata=metadata))
            assert reported["gate_threshold"] == pytest.approx(threshold)
            assert reported["expected_gflops"] == pytest.approx({0.0: 0.4, 0.3: 0.2, 1.0: 0.1}[threshold])
