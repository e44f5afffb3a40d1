"""IGAM: a student of a robust teacher of another task, against a plain student trained alike, under PGD.

    .venv/bin/python -m benchmarks.igam --data CIFAR10.npz [--seeds 0 1 2] [--keep]

The teacher learns CIFAR-10's six animals (cifar10-robust-small), its logit layer the four vehicles
(cifar10-logits-small); both students learn the vehicles, with the recipes cifar10-igam-small and cifar10-plain-small.
Every network is trained anew for every seed. CIFAR10.npz holds train_images, train_labels, test_images, test_labels.

The teacher with its new logit layer and both students are then attacked on the same held-out vehicles, also in ways
that do not need their own gradients: a random search, and images that were made with another's gradients.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.data.images import read_images
from adroit.models.data.pixels import Pixels
from adroit.models.metrics.adversarial import Attack, attacked, right_under
from adroit.models.training.methods.robustness import Settings, rights
from benchmarks.measure import keep_results
from benchmarks.recipe_runs import Runs, command_of, kept_rows, print_summary

NETWORKS = ("plain", "igam", "teacher")
ATTACKS = Settings(epsilon=4.0, step=1.0, steps=(10.0, 50.0), restarts=3, queries=1000, large_epsilon=32.0)
ANIMALS, VEHICLES = (2, 3, 4, 5, 6, 7), (0, 1, 8, 9)
ATTACKED = ("fgsm", "pgd10", "pgd50", "square", "from_plain", "from_teacher", "worst", "large_pgd")
FIGURES = ("accuracy", *(f"{attack}_accuracy" for attack in ATTACKED), "cpu_seconds")


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


def attacked_figures(checkpoints: Path, data: str, seed: int) -> dict[str, dict[str, float]]:
    """Percent of the images of `data` that are right under each attack, by the names of NETWORKS in `checkpoints`.

    `from_NAME` is PGD of 10 steps by the gradients of that network; `worst` counts these too.
    """
    loaded = {name: load_checkpoint(checkpoints / name) for name in NETWORKS}
    networks = {name: network.eval() for name, (network, _) in loaded.items()}
    preprocessing = loaded["plain"][1].preprocessing
    pixels, images = Pixels(preprocessing), read_images(data)
    assert images.labels is not None
    labels = torch.from_numpy(images.labels)
    batches = [(torch.from_numpy(x), labels[place]) for place, x in images.batches(preprocessing, 256)]
    figures = {}
    for name, network in networks.items():
        right = rights(network, batches, ATTACKS, pixels, seed)
        for source in ("plain", "teacher"):

            def hostile(x: Tensor, y: Tensor, generator: torch.Generator, source: str = source) -> Tensor:
                return attacked(networks[source], x, y, Attack(ATTACKS.epsilon, ATTACKS.step, 10), pixels, generator)

            if source != name:
                right[f"from_{source}"] = right_under(network, batches, hostile, seed)
                right["worst"] = right["worst"] & right[f"from_{source}"]
        figures[name] = {f"{attack}_accuracy": 100.0 * float(one.double().mean()) for attack, one in right.items()}
    return figures


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
            trained = [
                target.run("cifar10-logits-small", "teacher", initial=checkpoints / "robust", classes=count),
                target.run("cifar10-plain-small", "plain", classes=count),
                target.run("cifar10-igam-small", "igam", teacher=checkpoints / "teacher", classes=count),
            ]
            figures = attacked_figures(checkpoints, target.validation, seed)
            rows += [{**row, **figures[row["network"]]} for row in trained]
            print_summary(rows, ("robust", *NETWORKS), FIGURES)
            if options.keep:
                keep_results("igam", command_of("igam", ["--data", str(options.data)], rows), rows)


if __name__ == "__main__":
    main()
