"""A training step of an adder network on the CPU: adroit's kernels against torch's own operations, in turns.

    python -m benchmarks.adder_training [--rounds 5] [--keep]

Forward, loss and backward of adder ResNet-20 with 32 images of 32 x 32 on one thread; beside it the same network with
ordinary convolutions. CPU time, medians over the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from statistics import median
from unittest import mock

import torch
from torch.nn import functional

from adroit.models.networks.architectures import build_network
from adroit.models.operators import native
from benchmarks.measure import keep_results

BATCH, SIDE, CLASSES = 32, 32, 10


def step_of(kind: str) -> Callable[[], None]:
    """One step without the optimizer."""
    network = build_network("adder-resnet20", {"kind": kind}).train()
    images, labels = torch.randn(BATCH, 3, SIDE, SIDE), torch.randint(CLASSES, (BATCH,))

    def step() -> None:
        functional.cross_entropy(network(images), labels).backward()

    return step


def milliseconds(step: Callable[[], None]) -> float:
    started = time.process_time()
    step()
    return (time.process_time() - started) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="keep the figures under benchmarks/results")
    chosen = parser.parse_args()
    if native.training_library() is None:
        sys.exit("libadroit_training.so was not built: there is nothing to compare")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    adder, ordinary = step_of("adder"), step_of("ordinary")

    def by_torch() -> None:
        with mock.patch.object(native, "training_library", return_value=None):
            adder()

    steps = {"adder, by kernels": adder, "adder, by torch": by_torch, "ordinary": ordinary}
    for step in steps.values():
        step()  # first calls allocate
    rounds = [{name: milliseconds(step) for name, step in steps.items()} for _ in range(chosen.rounds)]
    row = {f"{name}, ms": median(each[name] for each in rounds) for name in steps}
    kernels = row["adder, by kernels, ms"]
    row |= {
        "torch / kernels": row["adder, by torch, ms"] / kernels,
        "kernels / ordinary": kernels / row["ordinary, ms"],
    }
    for name, value in row.items():
        print(f"{name}: {value:.3g}")
    if chosen.keep:
        keep_results("adder_training", f"python -m benchmarks.adder_training {' '.join(sys.argv[1:])}", [row])


if __name__ == "__main__":
    main()
