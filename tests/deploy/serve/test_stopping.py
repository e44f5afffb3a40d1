"""A signal to stop: what is accepted is answered, and nothing holds up the end."""

from __future__ import annotations

import http.client
import socket
import threading
from collections import Counter
from pathlib import Path

import grpc
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm
from tests.deploy.serve.held import running_held
from tests.deploy.serve.messages import GRPC_INFER, grpc_request, http_request, infer_path
from tests.deploy.serve.server import ADROIT, COMMAND, PATIENCE, Server, running, until

# An idle connection ends seconds after the signal: a client that the machine holds up can still use it.
PATIENT = f"from adroit.deploy.serve.http import connection; connection._LAST_SECONDS = 5.0\n{ADROIT}"


class Traffic:
    """Clients that send one request after the other until the server is gone; `ends` counts how each one ended."""

    def __init__(self, server: Server, model: str) -> None:
        self.server, self.model, self.ends = server, model, Counter[str]()
        self._clients = [threading.Thread(target=self._http) for _ in range(6)]
        self._clients += [threading.Thread(target=self._grpc) for _ in range(6)]

    def __enter__(self) -> Traffic:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.join(PATIENCE)

    def _http(self) -> None:
        """Use one connection after the other, each of which the server may end after an answer and not otherwise."""
        host, port = self.server.http.split(":")
        body, headers = http_request()
        while True:
            connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
            try:
                connection.connect()
            except OSError:
                return  # nothing was sent
            try:
                while connection.sock is not None:
                    connection.request("POST", infer_path(self.model), body, headers)
                    with connection.getresponse() as response:
                        response.read()
                        self.ends[f"http {response.status}"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.ends[f"lost: {error!r}"] += 1
                return

    def _grpc(self) -> None:
        with grpc.insecure_channel(self.server.grpc) as channel:
            while True:
                try:
                    channel.unary_unary(GRPC_INFER)(grpc_request(self.model), timeout=PATIENCE)
                    self.ends["grpc OK"] += 1
                except grpc.RpcError as error:
                    # UNAVAILABLE is how gRPC says that a call was not taken up.
                    refused = error.code() == grpc.StatusCode.UNAVAILABLE
                    self.ends["grpc UNAVAILABLE" if refused else f"lost: {error}"] += 1
                    return


@pytest.mark.parametrize("attempt", range(3))
def test_a_signal_to_stop_loses_no_accepted_request(
    attempt: int, lenet_deployment: Deployment, operators: OperatorForm, tmp_path: Path
) -> None:
    options = ("--operators", operators.value, "--batch", 1, "--queue", 128)
    with running(tmp_path, lenet_deployment.path, *options, code=PATIENT) as server:
        host, port = server.http.split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(4)]
        kept_open = http.client.HTTPConnection(host, int(port))
        kept_open.request("GET", "/v2")
        kept_open.getresponse().read()
        with Traffic(server, lenet_deployment.path.name) as traffic:
            until(lambda: traffic.ends["http 200"] > 20 and traffic.ends["grpc OK"] > 20)
            assert server.stop() == 0
        assert not [end for end in traffic.ends if end.startswith("lost")], traffic.ends
        assert set(traffic.ends) <= {"http 200", "grpc OK", "http 503", "grpc UNAVAILABLE"}
        events = [event["event"] for event in server.events()]
        assert events[-2:] == ["stopping", "stopped"]
        assert "a bug of ours" not in events
        for connection in idle:
            connection.close()


def test_a_server_stops_while_models_are_being_loaded(
    repository: Path, operators: OperatorForm, tmp_path: Path
) -> None:
    with running(tmp_path, repository, "--operators", operators.value, wait=False) as server:
        assert server.stop() == 0


def test_a_runtime_that_never_returns_does_not_keep_the_server_from_ending(
    lenet_deployment: Deployment, operators: OperatorForm, tmp_path: Path
) -> None:
    options = ("--operators", operators.value)
    with running_held(tmp_path, lenet_deployment.path, *options, code=COMMAND) as held, held.hold():
        body, headers = http_request()
        path = infer_path(held.model)
        threading.Thread(target=lambda: held.server.post(path, body, **headers), daemon=True).start()
        until(lambda: held.server.metric("adroit_pending_bytes") > 0)
        assert held.server.stop() == 1
        assert held.server.events()[-1]["event"] == "a runtime did not stop"
