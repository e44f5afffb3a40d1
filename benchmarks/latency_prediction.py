"""How near the latency that a route predicts comes to the image's own, run after run and on a machine that slows down.

    python -m benchmarks.latency_prediction ENTRY CAMVID/val [--runs 5] [--beside none ...] [--add]

Every run is an `adroit profile ENTRY --data IMAGES --threads 1` in a process of its own, which measures the table and
the images in turns, and stores the table. Then images alone are measured on one core, BESIDE other work that was not
there when the table was, and predicted by that table, scaled by the reference run (deploy/profile/speed.py) and
unscaled; as `adroit budget` does it with a table of another day. Bar: 10 % at the 95th percentile on a machine that
is left alone; the other rows show what scaling is worth.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import RESULTS, keep_results
from deploy.entry import Entry
from deploy.profile.forced import ForcedRuntime
from deploy.profile.latency_table import LatencyTable
from deploy.profile.prediction import Prediction, check_prediction
from deploy.profile.speed import Speed, reference_run
from deploy.profile.table_runs import REPEATS
from deploy.profile.timing import times_in_turns
from deploy.routes.collect import collect_routes
from deploy.runtimes.open import RuntimeOptions, open_runtime
from models.data.images import ImageSet, read_images

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
    """The work of that name, from the outside: another process."""
    told = BESIDE[name]
    if told is None:
        yield
        return
    core, niceness, program = told
    begun = f"import os; os.sched_setaffinity(0, {{{core}}}); os.nice({niceness})\n{program}"
    single = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", begun], env=single)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def profiled(entry: Path, images: Path, seconds: float) -> dict[str, Any]:
    """The prediction that one run of the command tells; the table is stored in the entry."""
    arguments = ["profile", str(entry), "--data", str(images), "--threads", "1", "--seconds", str(seconds), "--json"]
    command = [sys.executable, "-c", "from deploy.cli.main import main; main()", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    latency = json.loads(done.stdout)["routes"][0]["latency"]
    return {"table speed": latency["table"]["speed"], **latency["prediction"]}


def predicted(entry: Entry, images: ImageSet, name: str, seconds: float) -> Prediction:
    """By the table stored in `entry`, of images measured beside the work of that name."""
    assert entry.info.latency is not None
    table = LatencyTable.from_json(entry.info.latency)
    samples = collect_routes(entry, OPTIONS, images)
    inputs = [x for _, x in images.batches(entry.info.preprocessing, 1)]
    with open_runtime(entry, OPTIONS) as free, ForcedRuntime(entry, OPTIONS) as forced, work_beside(name):
        calls = [functools.partial(free.run, entry.feeds(x)) for x in inputs]
        reference = [reference_run(forced, table.size)] * REPEATS
        times, beside = times_in_turns([calls, reference], seconds, 5)
    return check_prediction(table, Speed.of(beside), [s.route for s in samples], np.median(times, axis=0).tolist())


def row(what: str, values: dict[str, Any]) -> dict[str, Any]:
    (typical, high), (_, unscaled) = values["error"], values["unscaled_error"]
    print(f"{what:45s} {typical:6.1%} median {high:6.1%} p95, scaled by {values['scale']:.3f}", end="")
    print(f", {unscaled:6.1%} p95 unscaled; spread of the reference {values['speed']['spread']:.1%}", flush=True)
    return {"what": what, **values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", type=Path)
    parser.add_argument("images", type=Path, help="of one size")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--beside", choices=BESIDE, nargs="*", default=list(BESIDE))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--add", action="store_true", help="to the rows that are kept already")
    chosen = parser.parse_args()
    kept = json.loads((RESULTS / f"{NAME}.json").read_text())["rows"] if chosen.add else []
    rows = [row("adroit profile", profiled(chosen.entry, chosen.images, chosen.seconds)) for _ in range(chosen.runs)]
    if chosen.beside:
        os.sched_setaffinity(0, {0})
        entry, images = Entry.read(chosen.entry), read_images(chosen.images).first(IMAGES)
        for name in chosen.beside:
            found = dataclasses.asdict(predicted(entry, images, name, chosen.seconds))
            rows.append(row(f"stored table, beside: {name}", found))
    keep_results(NAME, f"python -m benchmarks.{NAME} ENTRY CAMVID/val --seconds {chosen.seconds:g}", [*kept, *rows])


if __name__ == "__main__":
    main()
