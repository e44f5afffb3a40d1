"""The options of a server, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.serve.cost_classes import CostClasses

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """The limits of one request, one queue and the whole server.

    Attributes:
        body_bytes: size of an HTTP body (also after decompression) and of a gRPC message.
        json_bytes: size of a body's JSON part: reading JSON holds up every other request.
        image_pixels: pixels of one image, encoded or not.
        pending_bytes: size of all requests that are being received or wait, over all models.
        queue_requests: requests that may wait for one model.
        queue_seconds: time that a request may wait for its turn; where load lowers budgets, for its answer.
        batch: samples that run together.
        delay_seconds: time that a request waits for others to run with; 0 batches what waited while the model ran.
        header_bytes: size of the request line and headers of one HTTP request.
        receive_seconds: time for a client to send a whole request, and to take a whole answer.
        idle_seconds: time that a connection stays open between requests.
        connections: HTTP connections at a time.
        calls: gRPC calls at a time.
        drain_seconds: time for accepted requests to finish after a signal to stop.
    """

    body_bytes: int = 64 * MIB
    json_bytes: int = 16 * MIB
    image_pixels: int = 1 << 25
    pending_bytes: int = 512 * MIB
    queue_requests: int = 64
    queue_seconds: float = 10.0
    batch: int = 16
    delay_seconds: float = 0.0
    header_bytes: int = 32 << 10
    receive_seconds: float = 20.0
    idle_seconds: float = 60.0
    connections: int = 1024
    calls: int = 256
    drain_seconds: float = 4.0

    @property
    def message_bytes(self) -> int:
        """The size of a gRPC message, with room for what stands beside a tensor's bytes."""
        return self.body_bytes + MIB

    @property
    def messages(self) -> int:
        """The number of gRPC messages that calls may receive at a time; streams may receive as many again.

        gRPC hands over whole messages, so each counts as the largest (deploy/serve/grpc/receiving.py), and both
        kinds take at most `pending_bytes` again before `pending_bytes` counts them.
        """
        return max(1, self.pending_bytes // self.message_bytes)


@dataclass(frozen=True)
class Security:
    """What clients may do, and how connections are protected.

    Attributes:
        token: bearer token that every request must carry, except for health.
        certificate, key: PEM files of the server; without them connections are not encrypted.
        model_control: clients may load and unload models of the repository.
        shared_memory: clients on this machine may name regions of /dev/shm for their tensors.
    """

    token: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    model_control: bool = False
    shared_memory: bool = False


@dataclass(frozen=True)
class ServeOptions:
    """The options of a whole server. Port 0 is any free one; None leaves that listener out.

    Attributes:
        models: names of deployments to serve; all of the repository if empty.
        instances: runtimes of each model, each with a thread of its own.
        page: a web page at the HTTP server's root, for people.
        floor_gflops: operations / 1e9 an image to which load may lower the budget of networks with a budget
            table; None leaves every request the budget that it names.
        classes: limits of what an image of a client may cost.
    """

    repository: Path
    models: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    http_port: int | None = 8000
    grpc_port: int | None = 8001
    metrics_port: int | None = 8002
    instances: int = 1
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    limits: Limits = field(default_factory=Limits)
    security: Security = field(default_factory=Security)
    page: bool = False
    floor_gflops: float | None = None
    classes: CostClasses = field(default_factory=CostClasses)

    @property
    def address(self) -> str:
        """The host without the brackets in which URLs put an address of IPv6."""
        return self.host.removeprefix("[").removesuffix("]")
