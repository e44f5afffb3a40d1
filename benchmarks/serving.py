"""What serving costs: throughput against the in-process loop, CPU a request beside the network's own, batches.

    python -m benchmarks.serving REPOSITORY/NAME [--side 224] [--seconds 3] [--concurrency 1 8 32]

The server has one core (the first) and its clients another (the last). Each round measures the in-process
loop and every way of asking, one after the other, so that a noisy machine harms all alike; figures are
medians over the rounds. The bars: throughput at least 0.85 of the loop over HTTP at 8 and 32, 0.75 over
gRPC and at 1 (for networks of 10 ms or more); CPU beside the network's own at most 0.35 ms over HTTP and
0.8 ms over gRPC for 150 KB at 8 or more; at concurrency 32, at most one execution for four requests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import grpc
import numpy as np

from benchmarks.measure import keep_results
from deploy.entry import Entry
from deploy.runtimes.open import RuntimeOptions, open_runtime
from deploy.serve.protocol import open_inference_pb2 as pb

SERVER_CORE, CLIENT_CORE = 0, (os.cpu_count() or 1) - 1
TICK = os.sysconf("SC_CLK_TCK")
GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"
Ask = Callable[[], Awaitable[None]]


@dataclass
class Measured:
    """One way of asking, for some seconds: times in milliseconds."""

    requests_a_second: float
    p50: float
    p99: float
    cpu: float
    requests_an_execution: float


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@contextlib.contextmanager
def served(entry: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A server on its core, ready; where it listens for HTTP and gRPC ("host:port")."""
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "-1")
    command = [sys.executable, "-c", "from deploy.cli.main import main; main()", "serve", str(entry), *ports]
    with tempfile.TemporaryFile("w") as log:
        process = subprocess.Popen(
            [*command, "--threads", "1", "--json"], stdout=subprocess.PIPE, stderr=log, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
        )  # fmt: skip
        try:
            assert process.stdout is not None
            told = ""
            while "}" not in told:
                told += process.stdout.readline()
            addresses = json.loads(told)
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{addresses['http']}/v2/health/ready"):
                    break
                time.sleep(0.02)
            yield process, addresses["http"].removeprefix("http://"), addresses["grpc"]
        finally:
            process.terminate()
            process.wait()


@contextlib.asynccontextmanager
async def http_asker(address: str, model: str, pixels: np.ndarray) -> Any:
    """Asks over one kept connection; the answer is read to its end and must be a 200."""
    host, port = address.split(":")
    tensor = {"name": "image", "datatype": "UINT8", "shape": pixels.shape}
    tensor["parameters"] = {"binary_data_size": pixels.nbytes}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    text = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(head) + pixels.nbytes}\r\n"
        f"Inference-Header-Content-Length: {len(head)}\r\n\r\n"
    )
    message = text.encode() + head + pixels.tobytes()
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)

    async def ask() -> None:
        writer.write(message)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split()[1]))

    yield ask
    writer.close()


@contextlib.asynccontextmanager
async def grpc_asker(address: str, model: str, pixels: np.ndarray) -> Any:
    message = pb.ModelInferRequest(model_name=model, raw_input_contents=[pixels.tobytes()])
    message.inputs.add(name="image", datatype="UINT8", shape=pixels.shape)
    content = message.SerializeToString()
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        method = channel.unary_unary(GRPC_INFER)

        async def ask() -> None:
            await method(content)

        yield ask


async def load(asker: Callable[[], Any], clients: int, seconds: float) -> list[float]:
    """Milliseconds of every request of so many clients, each asking again as soon as it is answered."""
    times: list[float] = []

    async def client() -> None:
        async with asker() as ask:
            await ask()
            end = time.perf_counter() + seconds
            while (started := time.perf_counter()) < end:
                await ask()
                times.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(client() for _ in range(clients)))
    return times


def executions(address: str, model: str) -> int:
    with urllib.request.urlopen(f"http://{address}/v2/models/{model}/stats") as response:
        return int(json.load(response)["model_stats"][0]["execution_count"])


def measure(process: int, http: str, model: str, asker: Callable[[], Any], clients: int, seconds: float) -> Measured:
    before, ran, started = cpu_seconds(process), executions(http, model), time.perf_counter()
    times = asyncio.run(load(asker, clients, seconds))
    wall, count = time.perf_counter() - started, len(times) + clients
    cpu = (cpu_seconds(process) - before) * 1000 / count
    percentiles = quantiles(times, n=100)
    return Measured(count / wall, percentiles[49], percentiles[98], cpu, count / (executions(http, model) - ran))


def loop(entry: Entry, pixels: np.ndarray, seconds: float) -> float:
    """Images a second of the in-process loop with one image a run, on the server's core, preprocessing included."""
    with open_runtime(entry, RuntimeOptions(threads=1)) as runtime:
        os.sched_setaffinity(0, {SERVER_CORE})
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            runtime.run(entry.feeds(entry.info.preprocessing.values(pixels)))
            count += 1
        os.sched_setaffinity(0, {CLIENT_CORE})
    return count / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", type=Path)
    parser.add_argument("--side", type=int, default=224, help="of the square images, in pixels")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--keep", action="store_true", help="keep the figures under benchmarks/results")
    chosen = parser.parse_args()
    entry, model = Entry.read(chosen.entry), chosen.entry.name
    pixels = np.random.default_rng(0).integers(0, 256, (1, chosen.side, chosen.side, 3), dtype=np.uint8)
    found: dict[str, list[dict[str, float]]] = {}
    os.sched_setaffinity(0, {CLIENT_CORE})
    with served(chosen.entry) as (process, http, remote):
        memory = int(Path(f"/proc/{process.pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024
        askers = {"http": lambda: http_asker(http, model, pixels), "grpc": lambda: grpc_asker(remote, model, pixels)}
        for _ in range(chosen.rounds):
            floor = loop(entry, pixels, chosen.seconds)
            for protocol, asker in askers.items():
                for clients in chosen.concurrency:
                    got = measure(process.pid, http, model, asker, clients, chosen.seconds)
                    beside = {"of the loop": got.requests_a_second / floor, "cpu beside": got.cpu - 1000 / floor}
                    found.setdefault(f"{protocol} {clients}", []).append({**vars(got), **beside})
    rows = {name: {key: median(row[key] for row in rounds) for key in rounds[0]} for name, rounds in found.items()}
    print(f"{model}, {chosen.side} x {chosen.side} pixels; {memory:.0f} MiB when ready; milliseconds")
    for name, row in rows.items():
        print(f"{name:8s}", "  ".join(f"{key.replace('_', ' ')} {value:.2f}" for key, value in row.items()))
    if chosen.keep:
        told = {"model": model, "side": chosen.side, "memory_mib": memory}
        command = f"python -m benchmarks.serving {chosen.entry} --side {chosen.side}"
        keep_results("serving", command, [{**told, "asked": name, **row} for name, row in rows.items()])


if __name__ == "__main__":
    main()
