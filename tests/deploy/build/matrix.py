"""By hand: every preset whose model is below 100 MB becomes a tensorrt-rtx plan, with random weights.

    python -m tests.deploy.build.matrix [ARCHITECTURE ...] > matrix.txt

It takes most of an hour on two cores; the tests build the small ones. Routed networks are built in all
three forms, at one small size, since a plan for every size is not what is to be shown.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from adroit.deploy.build.build import build_deployment
from adroit.deploy.build.choices import COMPUTE_CAPABILITIES, Backend, Precision
from adroit.deploy.build.options import BuildOptions
from adroit.deploy.build.profiles import read_profile
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.errors import AdroitError
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.networks.architectures import ARCHITECTURES, build_network

LARGEST = 100e6
ROUTED_SIZE = 128


def deployments(name: str, folder: Path) -> list[Deployment]:
    """The preset's deployments."""
    torch.manual_seed(0)
    known = ARCHITECTURES[name]
    save_checkpoint(folder / name, build_network(name).eval(), CheckpointConfig(name, known.preprocessing, {}, [], {}))
    if "gate" not in known.defaults:
        return [export_deployment(folder / name, folder, f"{name}-deployment")]
    forms = ("masked", "if", "static")
    return [export_deployment(folder / name, folder, f"{name}-{form}", routing=Routing(form)) for form in forms]


def line(deployment: Deployment, precision: Precision, capabilities: tuple[int, ...]) -> str:
    size = deployment.model_file.stat().st_size
    what = f"{deployment.info.name:<28} {precision} SM {','.join(map(str, capabilities)):<20}"
    if size > LARGEST:
        return f"{what} left out: its model has {size / 1e6:.0f} MB"
    image = deployment.info.inputs[0]
    height, width = (ROUTED_SIZE, ROUTED_SIZE) if deployment.info.routing else deployment.info.input_size
    profile = read_profile(f"one={image.name}:1x{image.shape[1]}x{height}x{width}")
    start = time.perf_counter()
    try:
        record = build_deployment(
            deployment, BuildOptions(Backend.tensorrt_rtx, precision, [profile], capabilities)
        ).record
    except AdroitError as error:
        return f"{what} FAILED: {error}"
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return (
        f"{what} model {size / 1e6:6.1f} MB, plan {record.bytes / 1e6:6.1f} MB, {record.layers:5} layers,"
        f" builder {record.seconds:6.1f} s, in all {time.perf_counter() - start:6.1f} s,"
        f" largest process so far {memory:.1f} GiB"
    )


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    for name in names or list(ARCHITECTURES):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            for deployment in deployments(name, Path(folder) / "repository"):
                print(f"{name}: exported in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
                for precision in Precision:
                    print(line(deployment, precision, (89,)), flush=True)
            if name == "adder-resnet20":
                for capability in (*[(c,) for c in COMPUTE_CAPABILITIES], COMPUTE_CAPABILITIES):
                    print(line(deployment, Precision.fp32, capability), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
