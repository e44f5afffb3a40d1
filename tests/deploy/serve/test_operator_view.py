"""What an operator sees: metrics and logs."""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime
from pathlib import Path

import grpc
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm
from tests.deploy.serve.server import Server, running
from tests.deploy.serve.test_malformed_grpc import INFER as GRPC_INFER
from tests.deploy.serve.test_malformed_grpc import request as grpc_request
from tests.deploy.serve.test_malformed_http import INFER, request


def metrics(server: Server) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{server.metrics}/metrics") as response:
        lines = [line for line in response.read().decode().splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_metrics_count_requests_by_model_protocol_and_end(server: Server) -> None:
    body = json.dumps(request()).encode()
    before = metrics(server)
    for _ in range(3):
        assert server.post(INFER, body)[0] == 200
    assert server.post(INFER, b"{}")[0] == 400
    assert server.post("/v2/models/other/infer", body)[0] == 404
    with grpc.insecure_channel(server.grpc) as channel:
        channel.unary_unary(GRPC_INFER)(grpc_request().SerializeToString())
    after = metrics(server)
    grew = {name: value - before.get(name, 0.0) for name, value in after.items() if value != before.get(name, 0.0)}
    model = 'model="adder-lenet5-bn"'
    counted = {name: value for name, value in grew.items() if name.startswith("adroit_requests_total")}
    assert counted == {
        f'adroit_requests_total{{end="ok",{model},protocol="http"}}': 3,
        f'adroit_requests_total{{end="INVALID",{model},protocol="http"}}': 1,
        # A name that clients make up is no label: it would make the metrics grow without end.
        'adroit_requests_total{end="NOT_FOUND",model="",protocol="http"}': 1,
        f'adroit_requests_total{{end="ok",{model},protocol="grpc"}}': 1,
    }
    assert grew[f'adroit_batch_samples_bucket{{le="1.0",{model}}}'] == 4
    for name in ("queue", "execution"):
        assert grew[f"adroit_{name}_seconds_count{{{model}}}"] == 4
    assert grew[f'adroit_request_seconds_count{{{model},protocol="http"}}'] == 3
    assert after[f"adroit_model_ready{{{model}}}"] == 1
    assert after[f"adroit_queue_requests{{{model}}}"] == 0


def test_a_log_line_is_a_json_object_with_time_level_and_event(
    lenet_deployment: Deployment, operators: OperatorForm, tmp_path: Path
) -> None:
    with running(tmp_path, lenet_deployment.path, "--operators", operators.value) as server:
        assert server.stop() == 0
        events = server.events()
    assert [event["event"] for event in events] == ["model ready", "stopping", "stopped"]
    for event in events:
        datetime.fromisoformat(event["time"])
        assert event["level"] == "info"
    assert events[0]["model"] == lenet_deployment.path.name


@pytest.mark.parametrize("path", ["/", "/metrics", "/metrics?name[]=nothing"])
def test_the_metrics_port_serves_metrics_only(path: str, server: Server) -> None:
    with urllib.request.urlopen(f"http://{server.metrics}{path}") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
