"""Training methods against their plain twins, trained alike: several seeds each, mean and spread.

    .venv/bin/python -m benchmarks.training_methods COMPARISON... [--seeds 0 1 2] [--cifar FILE.npz] [--camvid DIR]

Each run is a recipe with a seed, as `adroit train` does it, on one thread. What a run reaches goes into
benchmarks/results/training_methods.json at once; a run that is there is not run again, and one that was
interrupted goes on where it stood (its state is below --work). --list tells the comparisons, --table the
figures as docs/training.md has them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from adroit.models.training.loop import Epoch, train
from adroit.models.training.options import Accelerator, RunOptions
from adroit.models.training.recipe import read_recipe
from benchmarks.measure import RESULTS, keep_results

NAME = "training_methods"
# The plain twin first.
COMPARISONS: Mapping[str, Sequence[str]] = {
    "adder": ("cifar10-ordinary-resnet20", "cifar10-adder-resnet20"),
    "anti-aliased": ("cifar10-plain-resnet20", "cifar10-aa-resnet20"),
    "routed": ("camvid-dynamic-raw", "camvid-dynamic-c", "camvid-dynamic-a"),
    "self-regulation": ("camvid-dynamic-raw", "camvid-dynamic-self-regulation"),
    "perceptual": ("camvid-dynamic-raw", "camvid-dynamic-perceptual"),
}
# Whose checkpoint, of seed 0, a recipe learns from: trained first.
TEACHERS: Mapping[str, str] = {"camvid-dynamic-perceptual": "camvid-dynamic-teacher"}


def measure(name: str, seed: int, data: Mapping[str, str], work: Path) -> dict[str, Any]:
    """One training: percentages, and the seconds of this part of it."""
    recipe, text = read_recipe(name)
    teacher = str(work / f"{TEACHERS[name]}-0") if name in TEACHERS else ""
    recipe = recipe.with_overrides(**data, seed=seed, teacher=teacher)  # type: ignore[arg-type]
    start, busy = time.perf_counter(), time.process_time()
    trained = train(
        recipe, text, work / f"{name}-{seed}", _report, RunOptions(Accelerator.CPU, resume=True, keep_every=50)
    )
    assert trained is not None
    return {
        "recipe": name,
        "seed": seed,
        "epochs": recipe.optimizer.epochs,
        "accuracy": 100.0 * trained.accuracy,
        **trained.figures,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - busy,
    }


def _report(epoch: Epoch) -> None:
    print(f"  epoch {epoch.number}/{epoch.epochs}  loss {epoch.loss:.4f}", file=sys.stderr, flush=True)


def known_rows() -> list[dict[str, Any]]:
    """What earlier calls measured."""
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: of every recipe the mean of its seeds, and the smallest and largest in brackets."""
    lines = []
    for name in dict.fromkeys(row["recipe"] for row in rows):
        own = [row for row in rows if row["recipe"] == name]
        unread = {"recipe", "seed", "epochs", "threads", "seconds", "cpu_seconds"}
        figures = []
        for figure in (key for key in own[0] if key not in unread):
            values = [row[figure] for row in own]
            figures.append(f"{figure} {statistics.mean(values):.4g} ({min(values):.4g} to {max(values):.4g})")
        lines.append(f"| `{name}` | {len(own)} | {'; '.join(figures)} |")
    return "\n".join(["| recipe | seeds | mean (least to most) |", "|---|---|---|", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparisons", nargs="*", choices=[*COMPARISONS, []], metavar="COMPARISON")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cifar", default="../shared/data/cifar10/cifar10_subset.npz", metavar="FILE.npz")
    parser.add_argument("--camvid", default="../shared/data/camvid", metavar="DIR")
    parser.add_argument("--work", type=Path, default=Path("build/training_methods"), help="checkpoints and states")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.list or options.table:
        names = "\n".join(f"{name}: {', '.join(recipes)}" for name, recipes in COMPARISONS.items())
        print(table(known_rows()) if options.table else names)
        return
    torch.set_num_threads(1)
    command = f"python -m benchmarks.training_methods {shlex.join(sys.argv[1:])}"
    sets = {
        "cifar10": {"training": f"{options.cifar}:train", "validation": f"{options.cifar}:test"},
        "camvid": {"folder": options.camvid},
    }
    names = [name for comparison in options.comparisons for name in COMPARISONS[comparison]]
    runs = [(TEACHERS[name], 0) for name in names if name in TEACHERS]
    for name, seed in [*runs, *((name, seed) for seed in options.seeds for name in names)]:
        if any((row["recipe"], row["seed"]) == (name, seed) for row in known_rows()):
            continue
        print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
        row = measure(name, seed, sets[name.split("-")[0]], options.work)
        keep_results(NAME, command, [*known_rows(), {**row, "threads": 1}])


if __name__ == "__main__":
    main()
