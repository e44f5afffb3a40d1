"""TensorRT, its lean runtime, and TensorRT-RTX, on a plan that `adroit build` made."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from adroit.deploy.deployment.builds import TensorRTBuild
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.runtimes.builds import find_build
from adroit.deploy.runtimes.runtime import Runtime
from adroit.deploy.runtimes.tensorrt.compatible import check_gpu, check_plan
from adroit.deploy.runtimes.tensorrt.gpu import find_gpu
from adroit.deploy.runtimes.tensorrt.modules import TITLES, Flavor, import_tensorrt
from adroit.deploy.runtimes.tensorrt.plugin_library import load_plugins, plugin_library
from adroit.deploy.runtimes.tensorrt.profiles import Profile
from adroit.errors import EnvironmentFault, UnsupportedModel

if TYPE_CHECKING:
    from adroit.deploy.runtimes.options import RuntimeOptions

# Every engine of a process shares one logger: TensorRT keeps the first it is given.
_LOGGERS: dict[str, Any] = {}


class TensorRTRuntime(Runtime):
    """An engine on the first GPU.

    Everything that the plan's header and record say is checked before TensorRT sees it; see compatible.py.
    """

    def __init__(self, deployment: Deployment, options: RuntimeOptions, flavor: Flavor) -> None:
        self.name = flavor
        backend = "tensorrt-rtx" if flavor == "tensorrt-rtx" else "tensorrt"
        version, record, path = find_build(deployment, backend, options.version)
        assert isinstance(record, TensorRTBuild)
        rebuild = f"adroit build {deployment.path} --backend {backend}"
        trt = import_tensorrt(flavor)
        header = check_plan(path, record, flavor, trt, rebuild)
        if record.version_compatible and not options.allow_host_code:
            raise UnsupportedModel(
                f"{path} is version-compatible: it carries code of its own, which loading it would run",
                hint="where you trust it, say --allow-host-code",
            )
        gpu = find_gpu()
        check_gpu(path, header, record, gpu.compute_capability, rebuild)
        self.inputs, self.outputs = deployment.info.inputs, deployment.info.outputs
        engine = _engine(trt, path, record, options.allow_host_code)

        from adroit.deploy.runtimes.tensorrt.device import Device
        from adroit.deploy.runtimes.tensorrt.executor import Executor

        profiles = [Profile(name, ranges) for name, ranges in record.profiles.items()]
        # RTX compiles kernels for the shapes it meets, so it captures by itself when it is ready.
        own_graphs = flavor == "tensorrt-rtx" and options.cuda_graph
        self._executor: Executor | None = Executor(
            lambda: _context(trt, engine, own_graphs),
            Device(),
            self.outputs,
            profiles,
            rebuild,
            options.cuda_graph and not own_graphs,
        )
        self._facts = {
            "runtime": f"{TITLES[flavor]} {trt.__version__}",
            "operators": "plugins" if record.plugins else "portable bodies",
            "threads": options.threads,
            "gpu": gpu.name,
            "version": version,
            "precision": record.precision,
            "cuda_graph": options.cuda_graph,
        }

    @property
    def facts(self) -> dict[str, Any]:
        """Versions and settings of this runtime; see Runtime.facts."""
        return dict(self._facts)

    def _run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        assert self._executor is not None
        return self._executor.run(feeds)

    def close(self) -> None:
        """Frees the runtime; it cannot run afterwards."""
        self._executor = None


def _engine(trt: ModuleType, path: Path, record: TensorRTBuild, allow_host_code: bool) -> Any:
    """The plan deserialized; its plugins come from our library, or from inside it where that is allowed."""
    if record.plugins and not record.version_compatible:
        load_plugins(trt, plugin_library())
    log = _logger(trt)
    runtime = trt.Runtime(log)
    runtime.engine_host_code_allowed = allow_host_code
    log.errors.clear()
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise EnvironmentFault(
            f"TensorRT {trt.__version__} cannot load {path}",
            facts={"reason": log.errors[0] if log.errors else "it gives none"},
            hint="build it again on this machine",
        )
    return engine


def _context(trt: ModuleType, engine: Any, own_graphs: bool) -> Any:
    if own_graphs:
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        context = engine.create_execution_context(config)
    else:
        context = engine.create_execution_context()
    if context is None:
        raise EnvironmentFault("TensorRT makes no execution context", hint="the GPU's memory may be full")
    return context


def _logger(trt: ModuleType) -> Any:
    if trt.__name__ not in _LOGGERS:

        class Log(trt.ILogger):  # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)
                self.errors: list[str] = []

            def log(self, severity: Any, text: str) -> None:
                if severity <= trt.ILogger.ERROR:
                    self.errors.append(text)

        _LOGGERS[trt.__name__] = Log()
    return _LOGGERS[trt.__name__]
