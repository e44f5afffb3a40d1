"""Opening a deployment in the runtime that is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.entry import Entry
from deploy.parts import missing
from deploy.runtimes.base import Runtime
from deploy.runtimes.choices import OperatorForm, RuntimeName
from models.errors import UsageError


@dataclass(frozen=True)
class RuntimeOptions:
    """How to run a deployment.

    Attributes:
        runtime: which runtime.
        operators: native kernels, or the portable bodies (much slower, any machine).
        threads: inside one run; None leaves it to the runtime.
        providers: ONNX Runtime's execution providers in the order of preference.
        version: which build of the deployment; for TensorRT the newest if None, for ONNX Runtime the
            exported model.
        cuda_graph: TensorRT: capture the work of every shape, and replay it.
        allow_host_code: TensorRT: load version-compatible plans, which carry code.
    """

    runtime: RuntimeName = RuntimeName.onnxruntime
    operators: OperatorForm = OperatorForm.native
    threads: int | None = None
    providers: Sequence[str] = ("CPUExecutionProvider",)
    version: int | None = None
    cuda_graph: bool = False
    allow_host_code: bool = False


def open_runtime(entry: Entry, options: RuntimeOptions) -> Runtime:
    """Loads `entry`.

    Raises:
        UsageError: an unreadable entry, or more threads than make sense here.
        EnvironmentFault: the runtime, a provider or the native library is not there.
        UnsupportedModel: the model is not the exported one.
    """
    most = 4 * (os.cpu_count() or 1)
    if options.threads is not None and not 1 <= options.threads <= most:
        raise UsageError(f"threads must be 1 to {most} on this machine, not {options.threads}")
    if options.runtime != RuntimeName.onnxruntime:
        try:
            return _with_torch(entry, options)
        except ImportError as error:
            raise missing(error, f"the runtime {options.runtime.value}") or error from error
    from deploy.runtimes.onnxruntime_runtime import OnnxRuntime

    return OnnxRuntime.of_entry(entry, options)


def _with_torch(entry: Entry, options: RuntimeOptions) -> Runtime:
    """PyTorch itself, or TensorRT, whose memory on the GPU PyTorch holds."""
    if options.runtime == RuntimeName.torch:
        from deploy.runtimes.torch_runtime import TorchRuntime

        return TorchRuntime(entry, options.threads)
    from deploy.runtimes.tensorrt.modules import TITLES
    from deploy.runtimes.tensorrt.runtime import TensorRTRuntime

    (flavour,) = [flavour for flavour in TITLES if flavour == options.runtime.value]
    return TensorRTRuntime(entry, options, flavour)
