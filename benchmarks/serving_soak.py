"""A soak test of many minutes at 80 % load: no request is lost, and memory does not grow.

    python -m benchmarks.serving_soak DEPLOYMENT [--minutes 20] [--side 224]

One client, by turns over HTTP and gRPC, with images of two sizes; it pauses a quarter of the time that each
answer took, so that the server works 80 % of the time however fast the machine is. Once a minute it also sends
what is refused: a body cut short, a wrong shape. Growth is from the median of the resident memory in the minutes
2 to 4 to that of the last two. Bars: at most 16 MiB, and every request answered.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from adroit.deploy.deployment.deployment import Deployment
from benchmarks.measure import keep_results
from benchmarks.served import CLIENT_CORE, HttpConnection, Served, http_message, served
from benchmarks.serving import grpc_sender

PAUSE = 0.25  # of an answer's time
WARM_MINUTES, LAST_MINUTES = (2.0, 4.0), 2.0


class Tally:
    """The number of requests, the wrong answers, and memory over time."""

    def __init__(self) -> None:
        self.requests = self.refusals = self.reopened = 0
        self.lost: list[str] = []
        self.busy = 0.0
        self.memory: list[tuple[float, float]] = []  # minutes, MiB


async def soak(server: Served, model: str, sides: tuple[int, int], minutes: float, tally: Tally) -> None:
    source = np.random.default_rng(0)
    images = [source.integers(0, 256, (1, side, side, 3), dtype=np.uint8) for side in sides]
    messages = [http_message(server.http, model, image) for image in images]
    connection, start, noted_minute = HttpConnection(server.http), time.monotonic(), 0.0
    async with contextlib.AsyncExitStack() as stack:
        senders = [await stack.enter_async_context(grpc_sender(server.grpc, model, image, ())) for image in images]
        while (minute := (time.monotonic() - start) / 60) < minutes:
            turn = tally.requests % 4
            sent = time.monotonic()
            try:
                if turn < 2:
                    status, body = await connection.send(messages[turn])
                    if status != 200:
                        tally.lost.append(f"{status} {body[:200]!r}")
                else:
                    await senders[turn - 2]()
            except Exception as error:
                tally.lost.append(repr(error))
            tally.requests += 1
            spent = time.monotonic() - sent
            tally.busy += spent
            await asyncio.sleep(PAUSE * spent)
            if minute >= noted_minute + 1 / 6:
                noted_minute = minute
                tally.memory.append((minute, server.resident_mib()))
                await refused(server, model, images[0], tally)
    tally.reopened = connection.reopened
    connection.close()


async def refused(server: Served, model: str, image: np.ndarray, tally: Tally) -> None:
    """Send wrong requests, each on a connection of its own: the answer is 400, or none to half a request."""
    connection = HttpConnection(server.http)
    status, _ = await connection.send(http_message(server.http, model, image[:, :1]))
    if status != 400:
        tally.lost.append(f"a wrong shape got {status}")
    connection.close()
    half = HttpConnection(server.http)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(half.send(http_message(server.http, model, image)[:-1000]), 0.1)
        tally.lost.append("half a request was answered")
    half.close()
    tally.refusals += 2


def growth(memory: list[tuple[float, float]], minutes: float) -> tuple[float, float]:
    """Return the memory in MiB after warming up, and at the end."""
    early, late = WARM_MINUTES
    warm = [mib for minute, mib in memory if early <= minute < late] or [memory[0][1]]
    return median(warm), median(mib for minute, mib in memory if minute >= minutes - LAST_MINUTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deployment", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--sides", type=int, nargs=2, default=(224, 256), help="of the square images, in pixels")
    parser.add_argument("--keep", action="store_true", help="keep the figures under benchmarks/results")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    tally = Tally()
    # The time is long so that a machine that is stopped for a while loses nothing.
    with served(chosen.deployment, "--queue-seconds", 600, "--receive-seconds", 600) as server:
        cpu, started = server.cpu_seconds(), time.monotonic()
        asyncio.run(soak(server, chosen.deployment.name, tuple(chosen.sides), chosen.minutes, tally))
        wall = time.monotonic() - started
        warm, end = growth(tally.memory, chosen.minutes)
        row: dict[str, Any] = {
            "model": Deployment.read(chosen.deployment).info.architecture,
            "minutes": wall / 60,
            "requests": tally.requests,
            "lost": len(tally.lost),
            "connections ended while idle": tally.reopened,
            "refused as they should be": tally.refusals,
            "share of the time with a request": tally.busy / wall,
            "server's share of a core": (server.cpu_seconds() - cpu) / wall,
            "MiB when warm": warm,
            "MiB at the end": end,
            "growth MiB": end - warm,
        }
    for name, value in row.items():
        print(f"{name}: {value:.2f}" if isinstance(value, float) else f"{name}: {value}")
    print("\n".join(tally.lost[:5]))
    if chosen.keep:
        command = f"python -m benchmarks.serving_soak DEPLOYMENT --minutes {chosen.minutes:g}"
        keep_results("serving_soak", command, [{**row, "memory": tally.memory}])


if __name__ == "__main__":
    main()
