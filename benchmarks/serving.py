"""The cost of serving: throughput against the in-process loop, CPU of each request beside the network, batches.

    python -m benchmarks.serving REPOSITORY/NAME [--side 224] [--seconds 3] [--concurrency 1 8 32] [--oracle]

The server has one core (the first) and its clients another (the last). Each round measures the in-process
loop and every kind of client, one after the other, so that a noisy machine harms all alike; figures are
medians over the rounds. The bars: throughput at least 0.85 of the loop over HTTP at 8 and 32, 0.75 over
gRPC and at 1 (for networks of 10 ms or more); CPU beside the network's own at most 0.35 ms over HTTP and
0.8 ms over gRPC for 150 KB at 8 or more; at concurrency 32, at most one execution for four requests; ready
within 2 s beside the model's load. With --oracle also a real Triton with its Python backend (ADROIT_TRITONSERVER
as in tests/deploy/serve/oracle.py), measured in turns: the bar is 0.9 of its throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import grpc
import numpy as np
import uvloop

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from benchmarks.measure import keep_results
from benchmarks.served import CLIENT_CORE, DATATYPES, SERVER_CORE, HttpConnection, Served, http_message, served

GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"
Sender = Callable[[], Any]


@dataclass
class Measurement:
    """The figures of one kind of client: times in milliseconds.

    `cpu_beside` is the CPU time of a request in the whole process, without the network and its preprocessing.
    """

    requests_a_second: float
    p50: float
    p99: float
    cpu: float
    cpu_beside: float
    requests_an_execution: float


@contextlib.asynccontextmanager
async def http_sender(address: str, model: str, images: np.ndarray, outputs: tuple[str, ...]) -> Any:
    """Send over one persistent connection; the response is read to its end and must be a 200."""
    message, connection = http_message(address, model, images, outputs), HttpConnection(address)

    async def send() -> None:
        status, body = await connection.send(message)
        if status != 200:
            raise RuntimeError(body.decode())

    yield send
    connection.close()


@contextlib.asynccontextmanager
async def grpc_sender(address: str, model: str, images: np.ndarray, outputs: tuple[str, ...]) -> Any:
    message = pb.ModelInferRequest(model_name=model, raw_input_contents=[images.tobytes()])
    message.inputs.add(name="image", datatype=DATATYPES[images.dtype.str], shape=images.shape)
    for name in outputs:
        message.outputs.add(name=name)
    content = message.SerializeToString()
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        method = channel.unary_unary(GRPC_INFER)

        async def send() -> None:
            await method(content)

        yield send


async def load(sender: Sender, clients: int, seconds: float) -> list[float]:
    """Return the milliseconds of every request of so many clients, each of which sends as soon as it is answered."""
    times: list[float] = []

    async def client() -> None:
        async with sender() as send:
            await send()
            end = time.perf_counter() + seconds
            while (started := time.perf_counter()) < end:
                await send()
                times.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(client() for _ in range(clients)))
    return times


def measure(server: Served, model: str, sender: Sender, clients: int, seconds: float) -> Measurement:
    runtime, before, ran = server.runtime_seconds(), server.cpu_seconds(), server.executions(model)
    speed, times = requests_under_load(sender, clients, seconds)
    count = len(times) + clients
    cpu, runtime = server.cpu_seconds() - before, server.runtime_seconds() - runtime
    percentiles = quantiles(times, n=100)
    executions = server.executions(model) - ran
    each = 1000 / count
    return Measurement(speed, percentiles[49], percentiles[98], cpu * each, (cpu - runtime) * each, count / executions)


def requests_under_load(sender: Sender, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Return requests a second, and the milliseconds of each."""
    started = time.perf_counter()
    times = uvloop.run(load(sender, clients, seconds))
    return (len(times) + clients) / (time.perf_counter() - started), times


def loop(deployment: Deployment, images: np.ndarray, seconds: float) -> float:
    """Return images a second of the in-process loop, one image a run on the server's core, with preprocessing."""
    with open_runtime(deployment, RuntimeOptions(threads=1)) as runtime, on_core(SERVER_CORE):
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            values = deployment.info.preprocessing.values(images) if images.dtype == np.uint8 else images
            runtime.run(deployment.feeds(values))
            count += 1
    return count / seconds


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    os.sched_setaffinity(0, {core})
    yield
    os.sched_setaffinity(0, {CLIENT_CORE})


@contextlib.contextmanager
def oracle(deployment: Deployment, images: np.ndarray) -> Iterator[dict[str, Sender]]:
    """Run a real Triton on the server's core (tests/deploy/serve/oracle.py), with this deployment alone."""
    from tests.deploy.serve.oracle import running_oracle

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        repository = Path(folder) / "repository"
        repository.mkdir()
        (repository / deployment.path.name).symlink_to(deployment.path.resolve())
        with on_core(SERVER_CORE):
            triton = stack.enter_context(running_oracle(Path(folder), repository, OperatorForm.native))
        yield senders_of(triton.http, triton.grpc, deployment.path.name, images, ())


def senders_of(http: str, remote: str, model: str, images: np.ndarray, outputs: tuple[str, ...]) -> dict[str, Sender]:
    return {
        "http": lambda: http_sender(http, model, images, outputs),
        "grpc": lambda: grpc_sender(remote, model, images, outputs),
    }


def rounds_of(
    chosen: argparse.Namespace, deployment: Deployment, images: np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return facts of the server, and rows of figures by kind of client."""
    model, results = deployment.path.name, dict[str, list[dict[str, float]]]()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(served(deployment.path, "--batch", chosen.batch))
        facts = {"memory_mib": server.resident_mib(), "ready_seconds": server.ready_seconds}
        senders = senders_of(server.http, server.grpc, model, images, tuple(chosen.outputs))
        others = stack.enter_context(oracle(deployment, images)) if chosen.oracle else {}
        for _ in range(chosen.rounds):
            speed = loop(deployment, images, chosen.seconds)
            for protocol, sender in senders.items():
                for clients in chosen.concurrency:
                    measured = measure(server, model, sender, clients, chosen.seconds)
                    beside = {"of the loop": measured.requests_a_second / speed}
                    if others:
                        theirs, _ = requests_under_load(others[protocol], clients, chosen.seconds)
                        beside["of the oracle"] = measured.requests_a_second / theirs
                    results.setdefault(f"{protocol} {clients}", []).append({**vars(measured), **beside})
    rows = {name: {key: median(row[key] for row in rounds) for key in rounds[0]} for name, rounds in results.items()}
    return facts, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deployment", type=Path)
    parser.add_argument("--side", type=int, default=224, help="of the square images, in pixels")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="samples that run together at most")
    parser.add_argument("--outputs", nargs="*", default=[], help="names of the outputs to request; all if none")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--oracle", action="store_true", help="also measure a real Triton, both by float tensors")
    parser.add_argument("--keep", metavar="NAME", help="keep the figures as benchmarks/results/NAME.json")
    chosen = parser.parse_args()
    deployment, source = Deployment.read(chosen.deployment), np.random.default_rng(0)
    images: np.ndarray = source.integers(0, 256, (1, chosen.side, chosen.side, 3), dtype=np.uint8)
    if chosen.oracle:
        images = deployment.info.preprocessing.values(images)
    os.sched_setaffinity(0, {CLIENT_CORE})
    facts, rows = rounds_of(chosen, deployment, images)
    facts = {
        "model": deployment.info.architecture,
        "request_bytes": images.nbytes,
        "batch": chosen.batch,
        **facts,
    }
    print("  ".join(f"{key} {value}" for key, value in facts.items()))
    for name, row in rows.items():
        print(f"{name:8s}", "  ".join(f"{key.replace('_', ' ')} {value:.2f}" for key, value in row.items()))
    if chosen.keep:
        command = f"python -m benchmarks.serving {' '.join(sys.argv[1:])}"
        keep_results(chosen.keep, command, [{**facts, "client": name, **row} for name, row in rows.items()])


if __name__ == "__main__":
    main()
