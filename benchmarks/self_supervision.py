"""Linear probes of random weights, RotNet, and ClusterFit and BoWNet on top of it, all trained without labels.

    .venv/bin/python -m benchmarks.self_supervision --training DATA --validation DATA [--seeds 0 1 2] [--keep]

The random weights' batch norms have the statistics of the training images, as the others' have.
DATA is CIFAR-10 or a part of it (FILE.npz:PART). Recipes: cifar10-rotnet-small, cifar10-clusterfit-small,
cifar10-bownet-small, and cifar10-logits-small for the probes. Every network is trained anew for every seed; a seed's
ClusterFit and BoWNet learn from its RotNet.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.networks.architectures import build_network
from adroit.models.training.precise_batch_norm import recompute_batch_norm_statistics
from adroit.models.training.recipe import read_recipe
from adroit.models.training.tasks import task_of
from benchmarks.measure import keep_results
from benchmarks.recipe_runs import Runs, command_of, kept_rows, print_summary

PRETRAINED = ("rotnet", "clusterfit", "bownet")
PROBES = ("probe of random", *(f"probe of {name}" for name in PRETRAINED))


def write_random(runs: Runs, folder: Path) -> None:
    """A checkpoint of the probe's network before any training."""
    recipe = read_recipe("cifar10-logits-small")[0].with_overrides(training=runs.training, validation=runs.validation)
    task = task_of(recipe)
    torch.manual_seed(runs.seed)
    network = build_network(recipe.architecture, recipe.arguments)
    recompute_batch_norm_statistics(network, task.training_inputs())
    config = CheckpointConfig(recipe.architecture, task.preprocessing, dict(recipe.arguments), [], {"seed": runs.seed})
    save_checkpoint(folder, network.eval(), config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", required=True, metavar="DATA")
    parser.add_argument("--validation", required=True, metavar="DATA")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="add to benchmarks/results/self_supervision.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = kept_rows("self_supervision", options.seeds) if options.keep else []
    data = ["--training", options.training, "--validation", options.validation]
    with tempfile.TemporaryDirectory() as name:
        for seed in options.seeds:
            folder = Path(name) / str(seed)
            runs = Runs(folder, options.training, options.validation, seed)
            write_random(runs, folder / "random")
            rows.append(runs.run("cifar10-logits-small", PROBES[0], initial=folder / "random"))
            for method in PRETRAINED:
                base = None if method == "rotnet" else folder / "rotnet"
                rows.append(runs.run(f"cifar10-{method}-small", method, teacher=base))
                rows.append(runs.run("cifar10-logits-small", f"probe of {method}", initial=folder / method))
            print_summary(rows, (*PRETRAINED, *PROBES), ("accuracy", "cpu_seconds"))
            if options.keep:
                keep_results("self_supervision", command_of("self_supervision", data, rows), rows)


if __name__ == "__main__":
    main()
