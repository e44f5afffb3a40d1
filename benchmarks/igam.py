"""IGAM: a student of a robust teacher of another task, against a plain student trained alike, under PGD.

    .venv/bin/python -m benchmarks.igam --data CIFAR10.npz [--seeds 0 1 2] [--keep]

The teacher learns CIFAR-10's six animals (cifar10-robust-small), its logit layer the four vehicles
(cifar10-logits-small); both students learn the vehicles, with the recipes cifar10-igam-small and cifar10-plain-small.
Every network is trained anew for every seed. CIFAR10.npz holds train_images, train_labels, test_images, test_labels.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import keep_results
from benchmarks.recipe_runs import Runs, command_of, kept_rows, print_summary

ANIMALS, VEHICLES = (2, 3, 4, 5, 6, 7), (0, 1, 8, 9)
FIGURES = ("accuracy", "fgsm_accuracy", "pgd10_accuracy", "cpu_seconds")


def write_part(data: Path, path: Path, classes: tuple[int, ...]) -> None:
    """The images of some classes, which become 0, 1, 2 and so on, as an archive like `data`."""
    arrays = {}
    with np.load(data, allow_pickle=False) as archive:
        for part in ("train", "test"):
            labels = archive[f"{part}_labels"]
            chosen = np.isin(labels, classes)
            arrays[f"{part}_images"] = archive[f"{part}_images"][chosen]
            arrays[f"{part}_labels"] = np.searchsorted(classes, labels[chosen])
    np.savez(path, allow_pickle=False, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="CIFAR10.npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="add to benchmarks/results/igam.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = kept_rows("igam", options.seeds) if options.keep else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, classes in (("animals", ANIMALS), ("vehicles", VEHICLES)):
            write_part(options.data, folder / f"{part}.npz", classes)
        for seed in options.seeds:
            source, target = (
                Runs(folder / str(seed), f"{folder / part}.npz:train", f"{folder / part}.npz:test", seed)
                for part in ("animals", "vehicles")
            )
            checkpoints, count = folder / str(seed), len(VEHICLES)
            rows.append(source.run("cifar10-robust-small", "robust", classes=len(ANIMALS)))
            rows.append(target.run("cifar10-logits-small", "teacher", initial=checkpoints / "robust", classes=count))
            rows.append(target.run("cifar10-plain-small", "plain", classes=count))
            rows.append(target.run("cifar10-igam-small", "igam", teacher=checkpoints / "teacher", classes=count))
            print_summary(rows, ("robust", "teacher", "plain", "igam"), FIGURES)
            if options.keep:
                keep_results("igam", command_of("igam", ["--data", str(options.data)], rows), rows)


if __name__ == "__main__":
    main()
