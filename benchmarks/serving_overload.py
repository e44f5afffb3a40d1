"""More requests than a server can run, and hostile clients.

    python -m benchmarks.serving_overload DEPLOYMENT... [--side 224]

Three things, the server on one core and its clients on another:
- 200 requests at once on a queue of 64: every one is answered; those that are refused within 100 ms.
- Requests at 3 times what the server can do, in an open loop: at least 0.9 of its peak is still answered well.
- An attack beside good traffic at about half of the load: malformed requests, bodies of 200 MB, and clients that
  send a byte now and then. The good traffic's 99th percentile, with and without it in turns: at most 1.5 times.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvloop

from adroit.deploy.deployment.deployment import Deployment
from benchmarks.measure import keep_results
from benchmarks.served import CLIENT_CORE, HttpConnection, Served, http_message, served

AT_ONCE, QUEUE, TIMES = 200, 64, 3.0
SLOW_CLIENTS, MALFORMED_A_SECOND = 64, 20.0


async def answered(connection: HttpConnection, message: bytes) -> tuple[int, float]:
    """Send a request; return its status (0: no answer) and the seconds."""
    started = time.perf_counter()
    try:
        status, _ = await connection.send(message)
    except (OSError, asyncio.IncompleteReadError):
        status = 0
        connection.close()
    return status, time.perf_counter() - started


async def at_once(server: Served, message: bytes) -> dict[str, Any]:
    connections = [HttpConnection(server.http) for _ in range(AT_ONCE)]
    await asyncio.gather(*(connection.open() for connection in connections))
    ends = await asyncio.gather(*(answered(connection, message) for connection in connections))
    for connection in connections:
        connection.close()
    refused = [seconds * 1000 for status, seconds in ends if status == 503]
    counts = {status: sum(s == status for s, _ in ends) for status in sorted({s for s, _ in ends})}
    return {"ends by status": counts, "slowest refusal, ms": max(refused, default=0.0)}


@dataclass
class Ends:
    """The times and statuses of answers."""

    answers: list[tuple[float, int]] = field(default_factory=list)

    async def send(self, connection: HttpConnection, message: bytes) -> None:
        status, _ = await answered(connection, message)
        self.answers.append((time.perf_counter(), status))

    def good(self, begin: float, end: float) -> float:
        """Return answers with tensors a second, between those times."""
        return sum(status == 200 and begin <= when < end for when, status in self.answers) / (end - begin)


async def peak(server: Served, message: bytes, seconds: float, lead: float, clients: int = 32) -> float:
    """Return answers a second after `lead` seconds; each client sends again at once."""
    begin, ends = time.perf_counter() + lead, Ends()

    async def client() -> None:
        connection = HttpConnection(server.http)
        while time.perf_counter() < begin + seconds:
            await ends.send(connection, message)
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return ends.good(begin, begin + seconds)


async def goodput(
    server: Served, message: bytes, rate: float, seconds: float, lead: float, seed: int
) -> tuple[float, set[int]]:
    """Return answers a second of an open loop at `rate` requests a second, and the statuses.

    Counted after `lead` seconds: before, the queue fills and its first requests have not waited as all others do.
    """
    idle: list[HttpConnection] = []
    tasks: list[asyncio.Task[None]] = []
    ends = Ends()

    async def one() -> None:
        connection = idle.pop() if idle else HttpConnection(server.http)
        await ends.send(connection, message)
        idle.append(connection)

    source, due = np.random.default_rng(seed), time.perf_counter()
    begin = due + lead
    while due < begin + seconds:
        await asyncio.sleep(due - time.perf_counter())
        tasks.append(asyncio.create_task(one()))
        due += source.exponential(1 / rate)
    await asyncio.gather(*tasks)
    return ends.good(begin, begin + seconds), {status for _, status in ends.answers}


async def good_traffic(server: Served, message: bytes, seconds: float, milliseconds: list[float]) -> None:
    """Run one client that pauses as long as it waited; add its times to `milliseconds`."""
    connection, end = HttpConnection(server.http), time.perf_counter() + seconds
    while time.perf_counter() < end:
        status, spent = await answered(connection, message)
        if status != 200:
            raise RuntimeError(f"good traffic got {status}")
        milliseconds.append(spent * 1000)
        await asyncio.sleep(spent)
    connection.close()


async def attack(server: Served, model: str) -> None:
    """Attack the server, until this is cancelled."""
    where = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\n".encode()
    bad = [b"Content-Length: 2\r\n\r\n{}", b"Content-Length: 9\r\n\r\n[[[[[[[[[", b"Content-Length: -1\r\n\r\n"]
    bad += [b"Content-Length: 4\r\nInference-Header-Content-Length: 99\r\n\r\nnull"]

    async def malformed() -> None:
        while True:
            for text in bad:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await HttpConnection(server.http).send(where + text)
                await asyncio.sleep(1 / MALFORMED_A_SECOND)

    async def slow() -> None:
        while True:
            with contextlib.suppress(OSError):
                host, _, port = server.http.rpartition(":")
                _, writer = await asyncio.open_connection(host, int(port))
                for byte in where + b"Content-Length: 100000\r\n\r\n":
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.5)

    async def huge() -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await HttpConnection(server.http).send(where + b"Content-Length: 200000000\r\n\r\n" + bytes(1 << 20))
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                chunks = b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000
                await asyncio.wait_for(HttpConnection(server.http).send(where + chunks), 0.5)
            await asyncio.sleep(0.1)

    await asyncio.gather(malformed(), huge(), *(slow() for _ in range(SLOW_CLIENTS)))


async def under_attack(server: Served, model: str, message: bytes, seconds: float, rounds: int) -> dict[str, Any]:
    calm: list[float] = []
    attacked: list[float] = []
    for _ in range(rounds):
        await good_traffic(server, message, seconds, calm)
        attacking = asyncio.create_task(attack(server, model))
        await asyncio.sleep(0.3)
        await good_traffic(server, message, seconds, attacked)
        attacking.cancel()
        await asyncio.gather(attacking, return_exceptions=True)
        await asyncio.sleep(0.3)
    before, during = (float(np.quantile(times, 0.99)) for times in (calm, attacked))
    return {
        "p99 ms": before, "p99 ms under attack": during, "times": during / before,
        "p50 ms": median(calm), "p50 ms under attack": median(attacked),
    }  # fmt: skip


def overloaded(server: Served, message: bytes, seconds: float, lead: float, rounds: int) -> dict[str, Any]:
    """Measure peak and goodput in turns; return them and the median of their ratios."""
    ratios, seen = [], set[int]()
    for seed in range(rounds):
        best = uvloop.run(peak(server, message, seconds, 0.5))
        got, statuses = uvloop.run(goodput(server, message, TIMES * best, seconds, lead, seed))
        ratios.append({"peak, requests/s": best, "goodput at 3 times": got, "of the peak": got / best})
        seen |= statuses
    return {"overloaded": ratios, "of the peak": median(r["of the peak"] for r in ratios), "statuses": sorted(seen)}


def row_of(deployment: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    image = np.random.default_rng(0).integers(0, 256, (1, chosen.side, chosen.side, 3), dtype=np.uint8)
    info, seconds = Deployment.read(deployment).info, chosen.seconds
    row: dict[str, Any] = {"model": info.architecture, "request_bytes": image.nbytes}
    # Routed networks have gates beside the classes of every pixel, which are megabytes.
    outputs = ("gates",) if info.routing is not None else ()
    with served(deployment, "--queue", QUEUE) as server:
        message = http_message(server.http, deployment.name, image, outputs)
        warm = uvloop.run(peak(server, message, 0.5, 0.5))
        rounds = [uvloop.run(at_once(server, message)) for _ in range(chosen.rounds)]
        row |= {"at once": rounds, "slowest refusal, ms": median(each["slowest refusal, ms"] for each in rounds)}
        row |= overloaded(server, message, seconds, 1.2 * QUEUE / warm, chosen.rounds)
        if not chosen.no_attack:
            row |= uvloop.run(under_attack(server, deployment.name, message, seconds, 3))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deployments", type=Path, nargs="+")
    parser.add_argument("--side", type=int, default=224, help="of the square images, in pixels")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each part")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-attack", action="store_true", help="leave out the third")
    parser.add_argument("--keep", action="store_true", help="keep the figures under benchmarks/results")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    rows = []
    for deployment in chosen.deployments:
        rows.append(row_of(deployment, chosen))
        for name, value in rows[-1].items():
            print(f"{name}: {value:.3g}" if isinstance(value, float) else f"{name}: {value}", flush=True)
    if chosen.keep:
        keep_results("serving_overload", f"python -m benchmarks.serving_overload {' '.join(sys.argv[1:])}", rows)


if __name__ == "__main__":
    main()
