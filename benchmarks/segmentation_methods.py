"""What the generic perceptual loss and self-regulation give a small routed network on CamVid.

    .venv/bin/python -m benchmarks.segmentation_methods --camvid FOLDER [--teacher CHECKPOINT]
        [--recipes NAME ...] [--seeds 0 1 2] [--keep]

Each recipe is trained once a seed: the same weights to begin with, the same images in the same order, the same
steps. With --keep, rows join those in benchmarks/results/segmentation_methods.json (a recipe and seed that is there
already is replaced). The summary tells each recipe's mean and sample standard deviation, and its mean difference to
the plain one over the seeds that both have.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from benchmarks.measure import RESULTS, keep_results
from models.files import sha256
from models.training.loop import Epoch, train
from models.training.recipe import read_recipe

PLAIN = "camvid-dynamic-plain"
RECIPES = (PLAIN, "camvid-dynamic-self-regulation", "camvid-dynamic-perceptual")
_NAME = "segmentation_methods"


def measure(name: str, seed: int, camvid: str, teacher: str) -> dict[str, Any]:
    """One training: percentages, and the seconds that all of it took."""
    recipe, text = read_recipe(name)
    recipe = recipe.with_overrides(folder=camvid, seed=seed, teacher=teacher if "perceptual_loss" in text else "")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = train(recipe, text, Path(folder) / "checkpoint", _report)
    assert result is not None, "one process only"
    return {
        "recipe": name,
        "recipe_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "seed": seed,
        "epochs": recipe.optimizer.epochs,
        "mean_intersection_over_union": 100.0 * result.accuracy,
        **result.figures,
        "seconds": time.perf_counter() - start,
        "threads": torch.get_num_threads(),
        **_teacher(recipe.teacher),
    }


def _teacher(folder: str) -> dict[str, Any]:
    if not folder:
        return {}
    source = json.loads((Path(folder) / "config.json").read_text())["source"]
    return {
        "teacher_sha256": sha256(Path(folder) / "model.safetensors"),
        "teacher_mean_intersection_over_union": 100.0 * source["accuracy"],
    }


def _report(epoch: Epoch) -> None:
    print(f"  epoch {epoch.number}/{epoch.epochs}  loss {epoch.loss:.4f}", file=sys.stderr, flush=True)


def summarise(rows: list[dict[str, Any]]) -> None:
    """Prints each recipe's figures over its seeds, and its mean difference to the plain one."""
    print(f"{'':34}{'seeds':>6}{'mIoU %':>9}{'spread':>8}{'to plain':>10}")
    scores = {
        name: {r["seed"]: r["mean_intersection_over_union"] for r in rows if r["recipe"] == name} for name in RECIPES
    }
    for name, by_seed in scores.items():
        if not by_seed:
            continue
        values, both = list(by_seed.values()), sorted(by_seed.keys() & scores[PLAIN].keys())
        spread = f"{stdev(values):8.2f}" if len(values) > 1 else f"{'-':>8}"
        differences = [by_seed[seed] - scores[PLAIN][seed] for seed in both]
        told = f"{mean(differences):+10.2f}" if differences and name != PLAIN else ""
        print(f"{name:34}{len(values):6}{mean(values):9.2f}{spread}{told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", required=True, metavar="FOLDER")
    parser.add_argument("--teacher", default="", metavar="CHECKPOINT", help="of camvid-dynamic-teacher")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help=f"write benchmarks/results/{_NAME}.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    command = f"python -m benchmarks.{_NAME} {shlex.join(sys.argv[1:])}"
    kept = RESULTS / f"{_NAME}.json"
    rows: list[dict[str, Any]] = json.loads(kept.read_text())["rows"] if options.keep and kept.exists() else []
    for seed in options.seeds:
        for name in options.recipes:
            row = {**measure(name, seed, options.camvid, options.teacher), "command": command}
            rows = [r for r in rows if (r["recipe"], r["seed"]) != (name, seed)] + [row]
            print(f"{name}, seed {seed}: {row['mean_intersection_over_union']:.2f} %", flush=True)
            if options.keep:
                keep_results(_NAME, command, sorted(rows, key=lambda r: (RECIPES.index(r["recipe"]), r["seed"])))
    summarise(rows)


if __name__ == "__main__":
    main()
