"""How to run a deployment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName


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
