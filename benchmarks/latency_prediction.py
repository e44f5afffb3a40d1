"""The error of the latency that a route predicts, run after run and on a machine that slows down.

    python -m benchmarks.latency_prediction DEPLOYMENT CAMVID/val [--runs 5] [--beside none ...] [--add]

Every run is an `adroit profile DEPLOYMENT --data IMAGES --threads 1` in a process of its own, which measures the table
and the images in turns, and stores the table. Then images alone are measured on one core, BESIDE other work that was
absent when the table was measured, and predicted by that table, scaled by the reference run
(deploy/routing/latency/speed.py) and unscaled; as `adroit budget` does it with a table of another day. Bar: 10 % at
the 95th percentile on a machine that is left alone; the other rows show what scaling is worth.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.measure.timing import times_in_turns
from adroit.deploy.routing.collect import collect_routes
from adroit.deploy.routing.latency.forced import ForcedRuntime
from adroit.deploy.routing.latency.prediction import LatencyPrediction, check_prediction
from adroit.deploy.routing.latency.speed import reference_run, speed_of
from adroit.deploy.routing.latency.table_runs import REPEATS
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import ImageSet, read_images
from benchmarks.measure import RESULTS, keep_results

NAME, OPTIONS, IMAGES = "latency_prediction", RuntimeOptions(threads=1), 32
_PRODUCTS = "import numpy; a = numpy.ones((48, 48), numpy.float32)\nwhile True: a @ a"
_COPIES = "import numpy; a, b = numpy.ones((2, 32 << 20), numpy.uint8)\nwhile True: a[:] = b"
# By name: core (images are measured on core 0), niceness, program.
BESIDE: dict[str, tuple[int, int, str] | None] = {
    "none": None,
    "copies, other core": (1, 0, _COPIES),
    "products, same core, niceness 5": (0, 5, _PRODUCTS),
    "products, same core": (0, 0, _PRODUCTS),
}


@contextlib.contextmanager
def work_beside(name: str) -> Iterator[None]:
    """Runs the work of that name in another process."""
    work = BESIDE[name]
    if work is None:
        yield
        return
    core, niceness, program = work
    begun = f"import os; os.sched_setaffinity(0, {{{core}}}); os.nice({niceness})\n{program}"
    single = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", begun], env=single)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def profiled(deployment: Path, images: Path, seconds: float) -> dict[str, Any]:
    """Runs the command once and returns its prediction; the command stores the table in the deployment."""
    arguments = [
        "profile",
        str(deployment),
        "--data",
        str(images),
        "--threads",
        "1",
        "--seconds",
        str(seconds),
        "--json",
    ]
    command = [sys.executable, "-c", "from adroit.deploy.cli.main import main; main()", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    latency = json.loads(done.stdout)["routes"][0]["latency"]
    return {"table speed": latency["table"]["speed"], **latency["prediction"]}


def predicted(deployment: Deployment, images: ImageSet, name: str, seconds: float) -> LatencyPrediction:
    """Predicts images measured beside the work of that name, by the table stored in `deployment`."""
    assert deployment.info.latency is not None
    table = deployment.info.latency
    samples = collect_routes(deployment, OPTIONS, images)
    inputs = [x for _, x in images.batches(deployment.info.preprocessing, 1)]
    with open_runtime(deployment, OPTIONS) as free, ForcedRuntime(deployment, OPTIONS) as forced, work_beside(name):
        calls = [functools.partial(free.run, deployment.feeds(x)) for x in inputs]
        reference = [reference_run(forced, table.size)] * REPEATS
        times, beside = times_in_turns([calls, reference], seconds, 5)
    return check_prediction(table, speed_of(beside), [s.route for s in samples], np.median(times, axis=0).tolist())


def row(what: str, values: dict[str, Any]) -> dict[str, Any]:
    (typical, high), (_, unscaled) = values["error"], values["unscaled_error"]
    print(f"{what:45s} {typical:6.1%} median {high:6.1%} p95, scaled by {values['scale']:.3f}", end="")
    print(f", {unscaled:6.1%} p95 unscaled; spread of the reference {values['speed']['spread']:.1%}", flush=True)
    return {"what": what, **values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deployment", type=Path)
    parser.add_argument("images", type=Path, help="of one size")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--beside", choices=BESIDE, nargs="*", default=list(BESIDE))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--add", action="store_true", help="add to the rows of the results file")
    chosen = parser.parse_args()
    earlier = json.loads((RESULTS / f"{NAME}.json").read_text())["rows"] if chosen.add else []
    rows = [
        row("adroit profile", profiled(chosen.deployment, chosen.images, chosen.seconds)) for _ in range(chosen.runs)
    ]
    if chosen.beside:
        os.sched_setaffinity(0, {0})
        deployment, images = Deployment.read(chosen.deployment), read_images(chosen.images).first(IMAGES)
        for name in chosen.beside:
            values = msgspec.to_builtins(predicted(deployment, images, name, chosen.seconds))
            rows.append(row(f"stored table, beside: {name}", values))
    keep_results(
        NAME, f"python -m benchmarks.{NAME} DEPLOYMENT CAMVID/val --seconds {chosen.seconds:g}", [*earlier, *rows]
    )


if __name__ == "__main__":
    main()
