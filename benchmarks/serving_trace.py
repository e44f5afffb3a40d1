"""Bursts of requests with deadlines: a budget that is lowered under load, against fixed budgets.

    adroit budget DEPLOYMENT --data CAMVID/train
    python -m benchmarks.serving_trace DEPLOYMENT CAMVID/val --floor 0.2 [--seeds 0 1 2] [--seconds 20]

An open loop: requests come when the trace says, whether or not others were answered. They come at random
(Poisson) at 0.3 of what the server can answer with the network as trained, and in bursts at 4 times that.
The same seed gives the same trace, in units of the time of one request, which is measured first. A request
attains its deadline if it is answered with tensors within 10 such times. Bar: at least 99 % where the fixed
full budget attains less than 90 %. Agreement: pixels that get the class they get from the network as trained,
over the requests that were answered in time. The server has one core and the client another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import uvloop

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import ImageSet, read_images
from benchmarks.measure import RESULTS, keep_results
from benchmarks.served import CLIENT_CORE, HttpConnection, Served, http_message, served

BASE, BURST, DEADLINE = 0.3, 4.0, 10.0
# Mean lengths in times of one request.
CALM, BURSTING = 200.0, 100.0


@dataclass(frozen=True)
class Arrival:
    """A request: its time in times of one request, and its image."""

    time: float
    image: int
    in_burst: bool


@dataclass(frozen=True)
class Outcome:
    """The end of a request: its status (0: no answer) and, with an answer, the threshold."""

    arrival: Arrival
    status: int
    seconds: float
    threshold: float


def trace(seed: int, length: float, images: int) -> list[Arrival]:
    """Return the arrivals of calm and bursts in turns, each of random length; both are Poisson."""
    source = np.random.default_rng(seed)
    arrivals, now, end, burst = [], 0.0, source.exponential(CALM), False
    while now < length:
        now += source.exponential(1.0 / (BASE * (BURST if burst else 1.0)))
        if now > end:  # memoryless: drawing again from there is the same process
            now, burst = end, not burst
            end += source.exponential(BURSTING if burst else CALM)
        else:
            arrivals.append(Arrival(now, int(source.integers(images)), burst))
    return arrivals


async def replay(server: Served, messages: Sequence[bytes], arrivals: Sequence[Arrival], unit: float) -> list[Outcome]:
    """Send the requests; their times count from when they were due."""
    idle: list[HttpConnection] = []
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.5

    async def one(arrival: Arrival) -> Outcome:
        due = start + arrival.time * unit
        await asyncio.sleep(due - loop.time())
        connection = idle.pop() if idle else HttpConnection(server.http)
        try:
            status, body = await connection.send(messages[arrival.image])
        except (OSError, asyncio.IncompleteReadError):
            return Outcome(arrival, 0, loop.time() - due, 0.0)
        idle.append(connection)
        threshold = 0.0
        if status == 200:
            header, _ = json.JSONDecoder().raw_decode(body[:4096].decode("latin-1"))
            threshold = header["parameters"]["gate_threshold"]
        return Outcome(arrival, status, loop.time() - due, threshold)

    return list(await asyncio.gather(*map(one, arrivals)))


async def unit_seconds(server: Served, messages: Sequence[bytes], seconds: float = 2.0) -> float:
    """Measure the seconds of one request while the next one waits."""
    count, started = 0, time.perf_counter()

    async def client(number: int) -> None:
        nonlocal count
        connection = HttpConnection(server.http)
        while time.perf_counter() < started + seconds:
            status, _ = await connection.send(messages[(count + number) % len(messages)])
            assert status == 200
            count += 1

    await asyncio.gather(*map(client, range(4)))
    return (time.perf_counter() - started) / count


def agreements(
    deployment: Deployment, images: ImageSet, pairs: set[tuple[int, float]]
) -> Mapping[tuple[int, float], float]:
    """Return, for each image and threshold, the share of pixels with their class at threshold 0."""
    shares, full = {}, {}
    with open_runtime(deployment, RuntimeOptions(threads=1)) as runtime:
        for index, threshold in sorted(pairs):
            x = deployment.info.preprocessing.values(images.load(index)[None])
            if index not in full:
                full[index] = runtime.run(deployment.feeds(x))["logits"].argmax(1)
            classes = runtime.run(deployment.feeds(x, threshold))["logits"].argmax(1)
            shares[index, threshold] = float((classes == full[index]).mean())
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deployment", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--floor", type=float, required=True, help="operations / 1e9 to which budgets may be lowered")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each replay, about")
    parser.add_argument("--keep", action="store_true", help="keep the figures under benchmarks/results, seed by seed")
    chosen = parser.parse_args()
    deployment, images = Deployment.read(chosen.deployment), read_images(chosen.images)
    for seed in chosen.seeds:
        unit, ends = replays(deployment, images, chosen.floor, seed, chosen.seconds)
        used = {(o.arrival.image, o.threshold) for outcomes in ends.values() for o in outcomes if o.status == 200}
        same = agreements(deployment, images, used)
        facts = {"seed": seed, "milliseconds of a request": unit * 1000, "floor": chosen.floor}
        rows = [{**facts, "policy": name, **summary(outcomes, unit, same)} for name, outcomes in ends.items()]
        for row in rows:
            print("  ".join(f"{k} {f'{v:.4g}' if isinstance(v, float) else v}" for k, v in row.items()), flush=True)
        if chosen.keep:
            keep(seed, chosen.floor, rows)


def replays(
    deployment: Deployment, images: ImageSet, floor: float, seed: int, seconds: float
) -> tuple[float, dict[str, list[Outcome]]]:
    """Return the seconds of one request, and the outcomes of the seed's trace by policy."""
    pixels = [images.load(index)[None] for index in range(len(images))]
    # A batch saves nothing on one core, and makes its first request wait for its last.
    options = ("--batch", 1, "--queue", 256)
    ways = {
        "full budget": (options, {}),
        "budget of the floor": (options, {"gflops": floor}),
        "lowered under load": ((*options, "--floor-gflops", floor), {}),
    }
    unit, ends = 0.0, {}
    os.sched_setaffinity(0, {CLIENT_CORE})
    for name, (flags, parameters) in ways.items():
        with served(deployment.path, *flags) as server:
            where = server.http, deployment.path.name
            warm = [http_message(*where, image, ("gates",), **parameters) for image in pixels[:8]]
            measured = uvloop.run(unit_seconds(server, warm))
            unit = unit or measured
            with_deadline = {"timeout": round(DEADLINE * unit * 1e6), **parameters}
            messages = [http_message(*where, image, ("gates",), **with_deadline) for image in pixels]
            arrivals = trace(seed, seconds / unit, len(images))
            ends[name] = uvloop.run(replay(server, messages, arrivals, unit))
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return unit, ends


def keep(seed: int, floor: float, rows: list[dict[str, Any]]) -> None:
    """Store the rows beside those of other seeds."""
    path = RESULTS / "serving_trace.json"
    stored = json.loads(path.read_text())["rows"] if path.exists() else []
    others = [row for row in stored if row["seed"] != seed]
    rows = sorted(others + rows, key=lambda row: row["seed"])
    seeds = " ".join(map(str, sorted({row["seed"] for row in rows})))
    command = f"python -m benchmarks.serving_trace DEPLOYMENT CAMVID/val --floor {floor} --seeds {seeds}"
    keep_results("serving_trace", command, rows)


def summary(
    outcomes: Sequence[Outcome], unit: float, same: Mapping[tuple[int, float], float]
) -> dict[str, float | int]:
    good = [o for o in outcomes if o.status == 200 and o.seconds <= DEADLINE * unit]
    refused = [o.seconds for o in outcomes if o.status not in (0, 200)]
    agreement = [same[o.arrival.image, o.threshold] for o in good]
    bursts = [o for o in outcomes if o.arrival.in_burst]
    return {
        "requests": len(outcomes),
        "in bursts": len(bursts),
        "attained": len(good) / len(outcomes),
        "attained in bursts": sum(o in good for o in bursts) / max(len(bursts), 1),
        "refused": len(refused),
        "late": len(outcomes) - len(good) - len(refused),
        "agreement": fmean(agreement) if agreement else 0.0,
        "mean threshold": fmean(o.threshold for o in good) if good else 0.0,
        "p50 ms": float(np.quantile([o.seconds for o in outcomes], 0.5)) * 1000,
        "p99 ms": float(np.quantile([o.seconds for o in outcomes], 0.99)) * 1000,
    }


if __name__ == "__main__":
    main()
