"""Shift consistency of ResNet-20 with the adaptive filter and of its plain twin, trained alike.

    .venv/bin/python -m benchmarks.shift_consistency --training DATA --validation DATA [--seeds 0 1 2] [--keep]

DATA is CIFAR-10 or a part of it (FILE.npz:PART). Each network is trained by its recipe once a seed;
accuracy is of whole images, consistency of crops (models/metrics/shift_consistency.py).
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from adroit.models.training.loop import Epoch, train
from adroit.models.training.recipe import read_recipe
from benchmarks.measure import keep_results

RECIPES = ("cifar10-plain-resnet20", "cifar10-aa-resnet20")


def measure(name: str, seed: int, training: str, validation: str) -> dict[str, Any]:
    """One training: percentages, and the seconds that all of it took."""
    recipe, text = read_recipe(name)
    recipe = recipe.with_overrides(training=training, validation=validation, seed=seed)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = train(recipe, text, Path(folder) / "checkpoint", _report)
    seconds = time.perf_counter() - start
    return {
        "recipe": name,
        "seed": seed,
        "epochs": recipe.optimizer.epochs,
        "accuracy": 100.0 * result.accuracy,
        **result.figures,
        "seconds": seconds,
    }


def _report(epoch: Epoch) -> None:
    print(f"  epoch {epoch.number}/{epoch.epochs}  loss {epoch.loss:.4f}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", required=True, metavar="DATA")
    parser.add_argument("--validation", required=True, metavar="DATA")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/shift_consistency.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    command = f"python -m benchmarks.shift_consistency {shlex.join(sys.argv[1:])}"
    rows = []
    print(f"{'':24}{'seed':>5}{'accuracy %':>12}{'consistency %':>15}{'seconds':>9}", flush=True)
    for seed in options.seeds:
        for name in RECIPES:
            row = measure(name, seed, options.training, options.validation)
            rows.append({**row, "threads": options.threads})
            figures = f"{row['accuracy']:12.1f}{row['shift_consistency']:15.1f}{row['seconds']:9.0f}"
            print(f"{name:24}{seed:5}{figures}", flush=True)
            if options.keep:
                keep_results("shift_consistency", command, rows)


if __name__ == "__main__":
    main()
