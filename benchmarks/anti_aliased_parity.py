"""Exports and checks every anti-aliased network, with native kernels and portable bodies.

    python -m benchmarks.anti_aliased_parity [--only TEXT] [--images 2] [--keep]

Random weights, batch-norm statistics taken over photographs (scikit-learn's), images of odd sizes.
Prints for each network the share of the parity limit that its logits use, and what the export took.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from adroit.deploy.export.deployment import export_deployment
from adroit.deploy.parity.check import check_deployment
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.data.images import ImageSet
from adroit.models.networks.architectures import architecture_named, build_network
from adroit.models.networks.residual import BasicBlock, Bottleneck
from adroit.models.training.precise_batch_norm import recompute_batch_norm_statistics
from benchmarks.measure import keep_results

RESNET_SIZE, DEEPLAB_SIZE = (97, 81), (129, 97)


@dataclass(frozen=True)
class Variant:
    """An architecture and the arguments that are not its defaults."""

    architecture: str
    arguments: Mapping[str, Any]

    @property
    def name(self) -> str:
        return " ".join([self.architecture, *(f"{k}={v}" for k, v in self.arguments.items())])


def variants() -> Iterator[Variant]:
    filters: list[dict[str, Any]] = [{}, {"filter_size": 5}, {"filter": "binomial"}]
    for depth in (18, 34, 50, 101):
        for pool_only in (True, False):
            for chosen in filters:
                yield Variant(f"aa-resnet{depth}", chosen | ({} if pool_only else {"pool_only": False}))
        yield Variant(f"aa-resnet{depth}", {"filter": "none"})
    for output_stride in (16, 8):
        for chosen in [*filters, {"filter": "none"}]:
            yield Variant("aa-deeplabv3plus-resnet101", {**chosen, "output_stride": output_stride})


def photographs(count: int) -> ImageSet:
    """Crops of scikit-learn's two sample photographs."""
    from sklearn.datasets import load_sample_images

    pictures = load_sample_images().images
    random = np.random.default_rng(0)
    corners = random.integers(0, [427 - 256, 640 - 256], (count, 2))
    crops = [pictures[i % 2][top : top + 256, left : left + 256] for i, (top, left) in enumerate(corners)]
    return ImageSet([str(i) for i in range(count)], lambda i: crops[i])


def make_checkpoint(variant: Variant, folder: Path, size: tuple[int, int] | None = None) -> Path:
    """Random weights whose batch norms know the photographs' statistics.

    Blocks add little to their shortcut, as in trained networks: else a deep random network amplifies
    every rounding error so far that its tolerance says nothing.
    """
    torch.manual_seed(0)
    known = architecture_named(variant.architecture)
    size = size or (DEEPLAB_SIZE if known.task == "segmentation" else RESNET_SIZE)
    preprocessing = replace(known.preprocessing, resize=size, crop=None)
    network = build_network(variant.architecture, variant.arguments)
    blocks: list[torch.nn.BatchNorm2d] = []
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.5)
        elif isinstance(module, BasicBlock):
            blocks.append(module.bn2)
        elif isinstance(module, Bottleneck):
            blocks.append(module.bn3)
    for norm in blocks:
        torch.nn.init.uniform_(norm.weight, 0.1, 0.3)
    batches = [torch.from_numpy(x) for _, x in photographs(8).batches(preprocessing, 4)]
    recompute_batch_norm_statistics(network, batches)
    config = CheckpointConfig(variant.architecture, preprocessing, variant.arguments, [], {"seed": 0})
    save_checkpoint(folder, network.eval(), config)
    return folder


def measure(variant: Variant, images: ImageSet) -> list[dict[str, Any]]:
    """One row for each form of the operators."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_checkpoint(variant, Path(folder) / "checkpoint")
        start, cpu = time.perf_counter(), time.process_time()
        deployment = export_deployment(checkpoint, Path(folder) / "repository")
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        rows = []
        for form in OperatorForm if deployment.info.operators else [OperatorForm.native]:
            report = check_deployment(deployment, images, RuntimeOptions(operators=form, threads=1))
            rows.append(
                {
                    "network": variant.name,
                    "operators": report.facts["operators"],
                    "limit_used": report.output.used,
                    "error": report.output.error,
                    "limit": report.output.limit,
                    "passed": report.passed,
                    "same_class": report.argmax_equal,
                    "export_seconds": seconds,
                    "export_cpu_seconds": cpu_seconds,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="networks whose line holds TEXT")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/anti_aliased_parity.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    command = f"python -m benchmarks.anti_aliased_parity {shlex.join(sys.argv[1:])}"
    rows = []
    print(
        f"{'network':60}{'operators':18}{'limit used':>11}{'error':>10}{'same class':>11}{'export s':>9}{'CPU s':>7}",
        flush=True,
    )
    for variant in variants():
        if options.only not in variant.name:
            continue
        for row in measure(variant, photographs(options.images)):
            rows.append(row)
            figures = (
                f"{row['limit_used']:11.3f}{row['error']:10.1e}{row['same_class']:11.2%}{row['export_seconds']:9.1f}"
            )
            print(f"{row['network']:60}{row['operators']:18}{figures}{row['export_cpu_seconds']:7.1f}", flush=True)
    if options.keep:
        keep_results("anti_aliased_parity", command, rows)
    if not all(row["passed"] for row in rows):
        sys.exit("some network leaves the tolerance")


if __name__ == "__main__":
    main()
