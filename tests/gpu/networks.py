"""Whole networks for the machine with a GPU, made where adroit is installed.

    python -m tests.gpu.networks        # writes build/gpu-networks, a few MB: carry it to the GPU

Each is an exported model with random weights (batch-norm statistics run in), inputs, and what the
float64 PyTorch network gives for them with the limit of each value (deploy/parity/rounding_model.py).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.gpu.build import ROOT

FOLDER = ROOT / "build" / "gpu-networks"
NAMES = ("adder-resnet20", "aa-cifar-resnet20", "dynamic-masked", "dynamic-if")


def make(name: str, folder: Path) -> None:
    """Writes NAME.onnx and NAME.npz: feeds, `reference` (logits, float64) and `limit`."""
    import onnx
    import torch

    from adroit.deploy.parity.rounding_model import run_with_limits

    torch.manual_seed(0)
    torch.set_num_threads(1)
    maker: Callable[..., tuple[Any, onnx.ModelProto, dict[str, torch.Tensor]]]
    maker = _routed if name.startswith("dynamic") else _plain
    network, model, feeds = maker(name)
    arguments = [value for key, value in feeds.items() if key != "image"]
    references, limits = run_with_limits(network, feeds["image"], [""], arguments=arguments)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / f"{name}.onnx")
    arrays = {key: value.float().numpy() for key, value in feeds.items()}
    np.savez(folder / f"{name}.npz", reference=references[""].numpy(), limit=limits[""].numpy(), **arrays)


def _plain(name: str) -> tuple[Any, Any, dict[str, Any]]:
    import torch

    from adroit.deploy.deployment.deployment import Deployment
    from adroit.deploy.export.deployment import export_deployment
    from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
    from adroit.models.networks.architectures import architecture_named, build_network
    from adroit.models.training.precise_batch_norm import recompute_batch_norm_statistics

    network = build_network(name, {})
    images = torch.randn(8, 3, 32, 32)
    recompute_batch_norm_statistics(network, [images])
    with tempfile.TemporaryDirectory() as folder:
        config = CheckpointConfig(name, architecture_named(name).preprocessing)
        save_checkpoint(Path(folder) / "checkpoint", network.eval(), config)
        deployment: Deployment = export_deployment(Path(folder) / "checkpoint", Path(folder) / "repository")
        model = deployment.load_model()
    return network.double(), model, {"image": images[:4].double()}


def _routed(name: str) -> tuple[Any, Any, dict[str, Any]]:
    import torch

    from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
    from adroit.deploy.export.routed import export_routed_graph
    from tests.models.networks.routed import images, routed_network

    network = routed_network(4, 16, "small", sharpest=4.0)
    model = export_routed_graph(network.float(), "if" if name.endswith("if") else "masked")
    return (
        network.double(),
        model,
        {"image": images(4, (128, 128)).float().double(), GATE_THRESHOLD_INPUT: torch.zeros(1).double()},
    )


def main() -> int:
    for name in NAMES:
        make(name, FOLDER)
        print(f"{name}: {(FOLDER / f'{name}.onnx').stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
