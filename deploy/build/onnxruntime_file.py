"""ONNX Runtime's own optimized file: the work of loading done once, for this kind of machine.

The file holds what the session made of the model for this ONNX Runtime and this CPU (fused operators,
the layout of convolution weights for its vector width, our own interpolation), so it is faster to load,
not to run in our sessions, and must not be moved to another kind of machine. Its parity to the exported
model is measured here and stored with it.

ONNX Runtime (1.32 too) names the values that it adds to a branch of an If without a look at the graph around it, so
the file of a network whose convolutions stand in branches and outside of them names a value twice, and cannot be
loaded. Then a lower level does: without the layout of convolution weights, which is what adds those values.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np

from adroit.deploy.build.choices import Precision
from adroit.deploy.build.store import built_file
from adroit.deploy.deployment.builds import OnnxRuntimeBuild, Optimizations, OutputDifference
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.native import instruction_set, native_library
from adroit.deploy.runtimes.onnxruntime_package import import_onnxruntime
from adroit.deploy.runtimes.onnxruntime_runtime import ON_CPU, OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.upsampling import use_own_upsampling
from adroit.errors import ParityError, UnsupportedModel

NAME = "model.onnx"
# ONNX Runtime's levels, highest first. From "extended" down nothing depends on the machine's vectors.
LEVELS: tuple[Optimizations, ...] = ("all", "extended", "basic")
SAMPLES = 4
# Reordered float32 sums differ by a few roundings; a wrong network differs by more than this share.
LARGEST_DIFFERENCE = 1e-4
# Segmentation networks take any size: a small one tells as much.
SIDE = 256


def optimize(deployment: Deployment, folder: Path) -> tuple[Path, OnnxRuntimeBuild]:
    """Writes the optimized file into `folder`; returns the file and its record.

    Raises:
        EnvironmentFault: ONNX Runtime or the native operators are not there.
        ParityError: the optimized file gives other numbers than the model.
    """
    onnxruntime = import_onnxruntime()
    path = folder / NAME
    custom = bool(deployment.info.operators)
    model = deployment.read_model()
    changed = use_own_upsampling(model) if custom else model.content
    for level in LEVELS:
        _save(onnxruntime, changed, path, level, custom)
        try:
            difference = _difference(deployment, model.content, path.read_bytes())
            break
        except UnsupportedModel:  # a file that cannot be loaded again
            if level == LEVELS[-1]:
                raise
    record = OnnxRuntimeBuild(
        **built_file(deployment, Precision.fp32.value, path),
        builder=f"onnxruntime {onnxruntime.__version__}",
        machine=platform.machine(),
        instruction_set=instruction_set(native_library()) if custom else None,
        difference=difference,
        optimizations=level,
    )
    return path, record


def _save(onnxruntime: Any, model: bytes, path: Path, level: Optimizations, custom: bool) -> None:
    """Has a session write what it makes of the model."""
    path.unlink(missing_ok=True)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.optimized_model_filepath = str(path)
    settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level.upper()}")
    if custom:
        settings.register_custom_ops_library(str(native_library()))
    onnxruntime.InferenceSession(model, settings, providers=[ON_CPU])


def _difference(deployment: Deployment, model: bytes, optimized: bytes) -> OutputDifference:
    """How far apart the two files' outputs are on noise, as a share of the largest value of each output."""
    size = deployment.info.input_size
    if size is not None:
        size = (min(size[0], SIDE), min(size[1], SIDE)) if deployment.any_size else None
    feeds = deployment.noise(SAMPLES, size)
    options = RuntimeOptions(operators=OperatorForm.native, threads=1)
    outputs = []
    for one in (model, optimized):
        with OnnxRuntime(one, options, bool(deployment.info.operators)) as runtime:
            outputs.append(runtime.run(feeds))
    shares = {}
    for name, expected in outputs[0].items():
        scale = float(np.abs(expected).max()) or 1.0
        shares[name] = float(np.abs(outputs[1][name] - expected).max()) / scale
    if max(shares.values()) > LARGEST_DIFFERENCE:
        raise ParityError(
            "ONNX Runtime's optimized file gives other numbers than the model",
            facts={"difference": shares, "limit": LARGEST_DIFFERENCE},
            hint="deploy the exported model; please report this",
        )
    return OutputDifference(SAMPLES, shares)
