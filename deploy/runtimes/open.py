"""Opens a deployment in one of the runtimes."""

from __future__ import annotations

import os

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.extras import missing_package
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.runtime import Runtime
from adroit.errors import UsageError


def open_runtime(deployment: Deployment, options: RuntimeOptions) -> Runtime:
    """Loads `deployment`.

    Raises:
        UsageError: an unreadable deployment, or more threads than make sense here.
        EnvironmentFault: the runtime, a provider or the native library is not there.
        UnsupportedModel: the model is not the exported one.
    """
    most = 4 * (os.cpu_count() or 1)
    if options.threads is not None and not 1 <= options.threads <= most:
        raise UsageError(f"threads must be 1 to {most} on this machine, not {options.threads}")
    if options.runtime != RuntimeName.onnxruntime:
        try:
            return _with_torch(deployment, options)
        except ImportError as error:
            raise missing_package(error, f"the runtime {options.runtime.value}") or error from error
    from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime

    return OnnxRuntime.of_deployment(deployment, options)


def _with_torch(deployment: Deployment, options: RuntimeOptions) -> Runtime:
    """PyTorch itself, or TensorRT, whose memory on the GPU PyTorch holds."""
    if options.runtime == RuntimeName.torch:
        from adroit.deploy.runtimes.torch_runtime import TorchRuntime

        return TorchRuntime(deployment, options.threads)
    from adroit.deploy.runtimes.tensorrt.modules import TITLES
    from adroit.deploy.runtimes.tensorrt.runtime import TensorRTRuntime

    (flavor,) = [flavor for flavor in TITLES if flavor == options.runtime.value]
    return TensorRTRuntime(deployment, options, flavor)
