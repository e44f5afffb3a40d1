"""Engines of TensorRT's full SDK, built and run on this machine's GPU, against ONNX Runtime and float64 PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.gpu.build import reason_against

NO_GPU = reason_against()
pytest.importorskip("onnxscript", reason="adroit's packages are not installed: pip install .")
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(NO_GPU is not None, reason=f"needs a GPU and nvcc: {NO_GPU}"),
]

NETWORKS = ("adder-resnet20", "aa-cifar-resnet20", "dynamic-small")


@pytest.fixture(scope="module", autouse=True)
def _sdk() -> None:
    from adroit.deploy.runtimes.tensorrt.modules import import_tensorrt
    from adroit.deploy.runtimes.tensorrt.plugin_library import plugin_library
    from adroit.errors import EnvironmentFault

    try:
        import_tensorrt("tensorrt")
        plugin_library()
    except EnvironmentFault as error:
        pytest.skip(error.message)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_engine_gives_what_the_network_gives(name: str, tmp_path: Path) -> None:
    from adroit.deploy.build.build import build_deployment
    from adroit.deploy.build.choices import Backend
    from adroit.deploy.build.options import BuildOptions
    from adroit.deploy.export.deployment import export_deployment
    from adroit.deploy.parity.check import check_deployment
    from adroit.deploy.runtimes.choices import RuntimeName
    from adroit.deploy.runtimes.options import RuntimeOptions
    from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
    from adroit.models.data.images import ImageSet
    from adroit.models.networks.architectures import architecture_named, build_network
    from adroit.models.training.precise_batch_norm import recompute_batch_norm_statistics

    torch.manual_seed(0)
    known = architecture_named(name)
    pixels = np.random.default_rng(0).integers(0, 256, (4, *known.input_size, 3), np.uint8)
    images = ImageSet([str(i) for i in range(4)], lambda i: pixels[i])
    network = build_network(name, {})
    recompute_batch_norm_statistics(network, [torch.from_numpy(x) for _, x in images.batches(known.preprocessing, 4)])
    save_checkpoint(tmp_path / "checkpoint", network.eval(), CheckpointConfig(name, known.preprocessing))
    deployment = export_deployment(tmp_path / "checkpoint", tmp_path / "repository")
    built = build_deployment(deployment, BuildOptions(Backend.tensorrt))
    for options in (
        RuntimeOptions(threads=1),
        RuntimeOptions(RuntimeName.tensorrt, version=int(built.version)),
        RuntimeOptions(RuntimeName.tensorrt, version=int(built.version), cuda_graph=True),
    ):
        report = check_deployment(built.deployment, images, options)
        print(f"{name}, {report.facts['runtime']}: {report.output.used:.3f} of the limit used")
        assert report.passed
