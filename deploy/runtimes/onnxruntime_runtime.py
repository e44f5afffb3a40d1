"""ONNX Runtime, with adroit's native operators or the portable bodies."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.builds import OnnxRuntimeBuild
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.tensors import Tensors, TensorSpec
from adroit.deploy.onnx_file import OnnxFile, parse_model
from adroit.deploy.runtimes.builds import find_build
from adroit.deploy.runtimes.native import instruction_set, native_library
from adroit.deploy.runtimes.onnxruntime_package import import_onnxruntime
from adroit.deploy.runtimes.runtime import Runtime
from adroit.deploy.runtimes.upsampling import use_own_upsampling
from adroit.errors import EnvironmentFault, UnsupportedModel, UsageError

if TYPE_CHECKING:
    import onnx

    from adroit.deploy.runtimes.options import RuntimeOptions

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(int64)": "int64",
    "tensor(double)": "float64",
}

SPIN_MICROSECONDS = "50"
ON_CPU = "CPUExecutionProvider"


class OnnxRuntime(Runtime):
    """A session on a model in memory.

    Args:
        model: the model, or an ONNX file. The message of an OnnxFile may be changed.
        options: threads, providers, native or portable operators.
        custom: whether the model has operators of ours (a portable one needs no library).
        profile_prefix: where ONNX Runtime writes its per-node profile, or None.
    """

    name = "onnxruntime"

    def __init__(
        self,
        model: onnx.ModelProto | OnnxFile | bytes,
        options: RuntimeOptions,
        custom: bool,
        profile_prefix: str | None = None,
    ) -> None:
        onnxruntime = import_onnxruntime()
        _check_providers(options, onnxruntime.get_available_providers())
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4  # its errors reach us as exceptions
        if options.threads is not None:
            settings.intra_op_num_threads = options.threads
        # How long a thread without work spins before it sleeps. ONNX Runtime's own choice is milliseconds, in which
        # it takes the CPU from whoever else runs on a busy machine. Versions that do not know the key ignore it.
        settings.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
        if profile_prefix is not None:
            settings.enable_profiling, settings.profile_file_prefix = True, profile_prefix
        self._facts: dict[str, Any] = {
            "runtime": f"onnxruntime {onnxruntime.__version__}",
            "operators": "standard only",
            "threads": options.threads,
            "providers": tuple(options.providers),
        }
        content = _content(model)
        if custom and options.operators == "native":
            library = native_library()
            self._facts["operators"] = f"native, {instruction_set(library)}"
            _register(settings, str(library))
            if list(options.providers) == [ON_CPU]:
                content = use_own_upsampling(_parsed(model))
        elif custom:
            self._facts["operators"] = "portable bodies"
        try:
            self._session: Any = onnxruntime.InferenceSession(content, settings, providers=list(options.providers))
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            raise UnsupportedModel("ONNX Runtime cannot load the model", facts={"reason": _reason(error)}) from error
        _check_started(options, self._session.get_providers())
        # To fall back on other providers it would hold the file's content for as long as it lives.
        self._session.disable_fallback()
        self._session._model_bytes = None
        self.inputs = tuple(_spec(v) for v in self._session.get_inputs())
        self.outputs = tuple(_spec(v) for v in self._session.get_outputs())

    @classmethod
    def of_deployment(cls, deployment: Deployment, options: RuntimeOptions) -> OnnxRuntime:
        """The deployment's model, checked to be the exported one; or the build of it that `options` names."""
        if options.version in (None, 1):
            return cls(deployment.read_model(), options, bool(deployment.info.operators))
        _, record, path = find_build(deployment, "onnxruntime", options.version)
        here = {"machine": platform.machine(), "instruction_set": _own_set(deployment)}
        assert isinstance(record, OnnxRuntimeBuild)
        made_for = {"machine": record.machine, "instruction_set": record.instruction_set}
        if made_for != here:
            raise EnvironmentFault(
                f"{path} was optimized for another kind of machine",
                facts={"made for": made_for, "here": here},
                hint=f"build it here: adroit build {deployment.path} --backend onnxruntime",
            )
        return cls(path.read_bytes(), options, bool(deployment.info.operators))

    @property
    def facts(self) -> dict[str, Any]:
        """Versions and settings of this runtime; see Runtime.facts."""
        return dict(self._facts)

    def _run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        try:
            values = self._session.run(None, dict(feeds))
        except Exception as error:  # as above
            raise UsageError("ONNX Runtime cannot run this input", facts={"reason": _reason(error)}) from error
        return {spec.name: np.asarray(value) for spec, value in zip(self.outputs, values, strict=True)}

    def end_profiling(self) -> str:
        """Closes the profile and returns its file's path."""
        path: str = self._session.end_profiling()
        return path

    def close(self) -> None:
        """Frees the runtime; it cannot run afterwards."""
        self._session = None


def _content(model: onnx.ModelProto | OnnxFile | bytes) -> bytes:
    if isinstance(model, bytes):
        return model
    return model.content if isinstance(model, OnnxFile) else model.SerializeToString()


def _parsed(model: onnx.ModelProto | OnnxFile | bytes) -> OnnxFile:
    if isinstance(model, OnnxFile):
        return model
    content = _content(model)
    return OnnxFile(content, parse_model(content))


def _own_set(deployment: Deployment) -> str | None:
    return instruction_set(native_library()) if deployment.info.operators else None


def _check_providers(options: RuntimeOptions, available: list[str]) -> None:
    missing = [p for p in options.providers if p not in available]
    if missing:
        raise EnvironmentFault(
            f"ONNX Runtime has no {', '.join(missing)} here",
            facts={"available": ", ".join(available)},
            hint="for NVIDIA GPUs: pip uninstall onnxruntime; pip install onnxruntime-gpu",
        )


def _check_started(options: RuntimeOptions, active: list[str]) -> None:
    """A provider whose libraries cannot be loaded is left out by ONNX Runtime, which then computes on the CPU."""
    lost = [p for p in options.providers if p not in active]
    if lost:
        raise EnvironmentFault(
            f"ONNX Runtime could not start {', '.join(lost)}",
            facts={"it would run on": ", ".join(active)},
            hint="its CUDA and cuDNN libraries, or the driver, are missing or of another version; or name another"
            " --provider",
        )


def _register(settings: Any, library: str) -> None:
    try:
        settings.register_custom_ops_library(library)
    except Exception as error:
        raise EnvironmentFault(
            f"cannot load the native operators {library}", facts={"reason": _reason(error)}
        ) from error


def _reason(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _spec(value: Any) -> TensorSpec:
    return TensorSpec(value.name, _DTYPES[value.type], tuple(d if d is not None else "?" for d in value.shape))
