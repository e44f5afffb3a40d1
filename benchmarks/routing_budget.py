"""A budget on a routed network trained on CamVid: whether unseen images keep it, and the accuracy that it costs.

    adroit train camvid-dynamic-budget --folder CAMVID -o CHECKPOINT
    python -m benchmarks.routing_budget CHECKPOINT CAMVID [--folder DIR] [--seconds 15]

The table is calibrated on the training images (`adroit budget`); then the validation images run at each of
its thresholds. First figure: how far their mean operations are from the table's; the bar is 5 %. Second: the
settings nearest to 75 %, 50 % and 35 % of the trained network's operations, beside the masked form, the static one
with every path open, and the common route of the training images, all in one run on one thread. Deployments
and their table are stored in DIR, and used again if present.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adroit.deploy.deployment.budget_table import BudgetTable
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.routed import executed_route
from adroit.deploy.deployment.writer import record_results
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.deploy.measure.timing import medians_in_turns
from adroit.deploy.parity.labels import label_map
from adroit.deploy.routing.budget.agreement import ThresholdAgreement
from adroit.deploy.routing.budget.calibrate import calibrate
from adroit.deploy.routing.budget.table import read_table
from adroit.deploy.routing.collect import collect_routes, deployment_costs
from adroit.deploy.routing.specialize import specialize
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import ImageSet, read_images
from benchmarks.measure import keep_results

OPTIONS = RuntimeOptions(threads=1)
SHARES = (0.75, 0.5, 0.35)
TIMED_IMAGES = 8


@dataclass(frozen=True)
class Candidate:
    title: str
    deployment: Deployment
    threshold: float = 0.0


def deployments(checkpoint: Path, training: ImageSet, folder: Path) -> dict[str, Deployment]:
    """if, masked, all open, common: exported unless they are there."""
    result = {}
    for name in ("if", "masked", "open", "common"):
        if not (folder / name).is_dir():
            routing = {"if": Routing("if"), "masked": Routing("masked"), "open": Routing("static")}.get(name)
            if routing is None:
                special = specialize(checkpoint, "common", training)
                routing = Routing("static", special.route, origin=special.origin)
            export_deployment(checkpoint, folder, name, routing=routing)
        result[name] = Deployment.read(folder / name)
    return result


def calibrated(deployment: Deployment, training: ImageSet) -> BudgetTable:
    if deployment.info.budget is None:
        table = calibrate(deployment, training, OPTIONS)
        record_results(deployment, budget=table)
        deployment = Deployment.read(deployment.path)
    return read_table(deployment)


def held_out(deployment: Deployment, table: BudgetTable, validation: ImageSet) -> list[dict[str, Any]]:
    """Mean operations on the validation images at each threshold, against the table's."""
    rows = []
    for setting in table.settings:
        samples = collect_routes(deployment, OPTIONS, validation, setting.threshold, batch=1)
        mean = sum(s.operations.total for s in samples) / len(samples) / 1e9
        off = mean / setting.gigaflops.mean - 1
        routes = len({s.route for s in samples})
        row = {"threshold": setting.threshold, "table": setting.gigaflops.mean, "instability": setting.instability}
        rows.append({**row, "held out": mean, "off": off})
        print(f"threshold {setting.threshold:.6f}  {setting.gigaflops.mean:.4f} GFLOPs in the table", end="")
        print(f" (unsteady {setting.instability or 0.0:.1%})", end="  ")
        print(f"{mean:.4f} on unseen images ({off:+.1%}), {routes} routes", flush=True)
    return rows


def nearest(table: BudgetTable, gigaflops: float) -> float:
    """The threshold of the setting whose mean operations are nearest."""
    return min(table.settings, key=lambda setting: abs(setting.gigaflops.mean - gigaflops)).threshold


def quality(candidate: Candidate, validation: ImageSet) -> tuple[float, float]:
    """mIoU, and mean operations / 1e9 of what is computed."""
    deployment, agreement, costs = candidate.deployment, ThresholdAgreement(11), []
    with open_runtime(deployment, OPTIONS) as runtime:
        for where, x in validation.batches(deployment.info.preprocessing, 1):
            image = validation.load(where.start)
            outputs = runtime.run(deployment.feeds(x, candidate.threshold))
            route = executed_route(deployment, outputs["gates"])
            costs.append(deployment_costs(deployment, (x.shape[2], x.shape[3])).of_route(route).total / 1e9)
            classes = deployment.info.preprocessing.unpadded(outputs["logits"][0].argmax(0), image.shape[:2])
            agreement.add(classes, classes, label_map(validation, where.start, image.shape[:2], 11))
    assert agreement.accuracy is not None
    return agreement.accuracy, float(np.mean(costs))


def latencies(candidates: Sequence[Candidate], validation: ImageSet, seconds: float) -> list[float]:
    """Mean over some images of the median milliseconds; all take turns."""
    runtimes = [open_runtime(c.deployment, OPTIONS) for c in candidates]
    chosen = np.linspace(0, len(validation) - 1, TIMED_IMAGES).round().astype(int)
    calls = []
    for index in chosen:
        for candidate, runtime in zip(candidates, runtimes, strict=True):
            x = candidate.deployment.info.preprocessing.values(validation.load(int(index))[None])
            calls.append(functools.partial(runtime.run, candidate.deployment.feeds(x, candidate.threshold)))
    times = medians_in_turns(calls, seconds, 5)
    return [float(t) for t in times.reshape(len(chosen), len(candidates)).mean(0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--folder", type=Path, help="folder for the deployments")
    parser.add_argument("--seconds", type=float, default=15.0, help="of measuring latency")
    arguments = parser.parse_args()
    training, validation = (read_images(arguments.camvid / split) for split in ("train", "val"))
    with tempfile.TemporaryDirectory() as temporary:
        exported = deployments(arguments.checkpoint, training, arguments.folder or Path(temporary))
        table = calibrated(exported["if"], training)
        unseen = held_out(exported["if"], table, validation)
        full = table.settings[0].gigaflops.mean
        candidates = [
            Candidate("masked", exported["masked"]),
            Candidate("static, all open", exported["open"]),
            Candidate("threshold 0", exported["if"]),
            *(
                Candidate(f"near {share:.0%} of the operations", exported["if"], nearest(table, share * full))
                for share in SHARES
            ),
            Candidate("common route", exported["common"]),
        ]
        times = latencies(candidates, validation, arguments.seconds)
        rows = []
        for candidate, milliseconds in zip(candidates, times, strict=True):
            accuracy, gigaflops = quality(candidate, validation)
            figures = {
                "threshold": candidate.threshold,
                "mIoU": accuracy,
                "GFLOPs": gigaflops,
                "milliseconds": milliseconds,
            }
            rows.append({"deployment": candidate.title, **figures})
            print(
                f"{candidate.title:22s}  threshold {candidate.threshold:.6f}  mIoU {accuracy:.2%}"
                f"  {gigaflops:.4f} GFLOPs  {milliseconds:6.2f} ms",
                flush=True,
            )
    print(f"largest difference on unseen images: {max(abs(row['off']) for row in unseen):.1%}")
    keep_results(
        "routing_budget",
        "python -m benchmarks.routing_budget CHECKPOINT CAMVID",
        [{"unseen": unseen, "side by side": rows, "table": table.to_json()}],
    )


if __name__ == "__main__":
    main()
