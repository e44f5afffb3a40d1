"""Exports every routed preset in its three forms and checks it, with native kernels and portable bodies.

    python -m benchmarks.routed_parity [--only TEXT] [--images 2] [--keep]

Random weights, batch-norm statistics run in, gates biased so that they are neither all open nor all closed.
Prints for each the share of the parity limit that its logits use, whether every gate of every image
agrees with PyTorch in float64, how many gates were open, and what the export took.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.deploy.export.routed import RoutingForm
from adroit.deploy.parity.check import check_deployment
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.data.images import ImageSet
from adroit.models.networks.architectures import architecture_named
from benchmarks.measure import keep_results
from tests.models.networks.routed import images, routed_network

PRESETS = ("dynamic-a", "dynamic-b", "dynamic-c", "dynamic-raw-16", "dynamic-raw-33")
FORMS: tuple[RoutingForm, ...] = ("masked", "if", "static")
SIZE = (128, 256)


def make_checkpoint(preset: str, folder: Path) -> Path:
    known = architecture_named(preset)
    arguments = known.defaults
    network = routed_network(
        arguments["depth"],
        arguments["width"],
        arguments["gate"],
        PRESETS.index(preset),
        classes=arguments["classes"],
        sharpest=4.0,
    )
    preprocessing = replace(known.preprocessing, resize=SIZE, crop=None)
    save_checkpoint(folder, network.float().eval(), CheckpointConfig(preset, preprocessing))
    return folder


def pictures(count: int) -> ImageSet:
    """Smooth random patterns of different strength, so that routes differ."""
    values = images(count, SIZE, seed=3).permute(0, 2, 3, 1).numpy()
    bytes_ = np.clip(values * 58 + 115, 0, 255).astype(np.uint8)
    return ImageSet([str(i) for i in range(count)], lambda i: bytes_[i])


def measure(preset: str, shown: ImageSet) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_checkpoint(preset, Path(folder) / "checkpoint")
        for routing in FORMS:
            start = time.perf_counter()
            deployment = export_deployment(checkpoint, Path(folder) / "repository", routing, routing=Routing(routing))
            seconds = time.perf_counter() - start
            for form in OperatorForm:
                report = check_deployment(deployment, shown, RuntimeOptions(operators=form, threads=1))
                rows.append(
                    {
                        "network": preset,
                        "form": routing,
                        "operators": report.facts["operators"],
                        "limit_used": report.output.used,
                        "limit": report.output.limit,
                        "error": report.output.error,
                        "passed": report.passed,
                        "routes": None if report.routes is None else dataclasses.asdict(report.routes),
                        "export_seconds": seconds,
                    }
                )
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="presets whose name holds TEXT")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/routed_parity.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shown = pictures(options.images)
    rows = [row for preset in PRESETS if options.only in preset for row in measure(preset, shown)]
    if options.keep:
        keep_results("routed_parity", f"python -m benchmarks.routed_parity {shlex.join(sys.argv[1:])}", rows)


if __name__ == "__main__":
    main()
