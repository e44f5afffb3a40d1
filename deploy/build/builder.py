"""The builder itself, for TensorRT and TensorRT-RTX alike; it runs in the building process only.

`trt` is either package: their interfaces coincide in all that is used here. Polygraphy, which hides
their differences over versions, makes the configuration.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from adroit.deploy.build.job import CACHE, MODEL, PLAN, Job
from adroit.deploy.runtimes.tensorrt.modules import import_tensorrt
from adroit.deploy.runtimes.tensorrt.near_miss import near_miss
from adroit.deploy.runtimes.tensorrt.plugin_library import load_plugins, registered, text_of
from adroit.errors import AdroitError, EnvironmentFault, OutOfResource, UnsupportedModel

Tell = Callable[[dict[str, Any]], None]
MEMORY_WORDS = ("out of memory", "outofmemory", "failed_allocation", "memory_allocation", "insufficient memory")


def run_job(folder: Path, job: Job, tell: Tell) -> dict[str, Any]:
    """Parses the model and builds it; the plan goes to the job's folder.

    Args:
        tell: gets what happens: {"phase": name, "of": parent or None}, {"notice": text}.

    Returns:
        what the builder says of itself and of the network.

    Raises:
        AdroitError: whatever a user can meet, each with the reason.
    """
    if job.flavor == "tensorrt-rtx":
        os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"  # read when Polygraphy is imported
    trt = import_tensorrt(job.flavor)
    if job.library:
        load_plugins(trt, Path(job.library))
    log = _logger(trt)
    if job.refit:
        return _refit(trt, log, folder)
    builder, network = _network(trt, log)
    _parse(trt, log, network, (folder / MODEL).read_bytes(), job)
    _check_plugin_layers(trt, network, job)
    facts: dict[str, Any] = {"version": trt.__version__, "layers": network.num_layers}
    if job.parse_only:
        return facts
    config, cache = _configuration(trt, builder, network, job, folder, tell)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _build_error(log.errors)
    (folder / PLAN).write_bytes(plan)
    if cache is not None:
        (folder / CACHE).write_bytes(cache.serialize())
    return {**facts, "bytes": plan.nbytes, "warnings": log.warnings}


def _refit(trt: ModuleType, log: Any, folder: Path) -> dict[str, Any]:
    """A stripped plan with its weights back in. Needs a GPU, which process.py's caller has made sure of."""
    engine = trt.Runtime(log).deserialize_cuda_engine((folder / PLAN).read_bytes())
    if engine is None:
        raise EnvironmentFault(
            f"TensorRT {trt.__version__} cannot load the stripped plan",
            facts={"reason": log.errors[0] if log.errors else "it gives none"},
            hint="build it again on this machine",
        )
    refitter = trt.Refitter(engine, log)
    parser = trt.OnnxParserRefitter(refitter, log)
    if not parser.refit_from_bytes((folder / MODEL).read_bytes()) or not refitter.refit_cuda_engine():
        fault = parser.get_error(0).desc() if parser.num_errors else "; ".join(log.errors[:1])
        raise UnsupportedModel(
            "the weights do not fit into the stripped plan",
            facts={"reason": fault or "TensorRT gives none", "missing": ", ".join(refitter.get_missing_weights()[:5])},
            hint="build the plan again from this model",
        )
    settings = engine.create_serialization_config()
    settings.clear_flag(trt.SerializationFlag.EXCLUDE_WEIGHTS)
    plan = engine.serialize_with_config(settings)
    (folder / PLAN).write_bytes(plan)
    return {"version": trt.__version__, "layers": engine.num_layers, "bytes": plan.nbytes}


def _logger(trt: ModuleType) -> Any:
    class Log(trt.ILogger):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(text)
            elif severity == trt.ILogger.WARNING and text not in self.warnings:
                self.warnings.append(text)

    return Log()


def _network(trt: ModuleType, log: Any) -> tuple[Any, Any]:
    """A builder and an empty, strongly typed network."""
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # the factory gave no object
        raise EnvironmentFault(
            "TensorRT's builder does not start",
            facts={"reason": log.errors[0] if log.errors else error},
            hint="`adroit doctor` tells whether this machine's GPU and driver are seen",
        ) from error
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    # Without the flag (some 11.x) every network is.
    return builder, builder.create_network(0 if flag is None else 1 << int(flag))


def _parse(trt: ModuleType, log: Any, network: Any, content: bytes, job: Job) -> None:
    parser = trt.OnnxParser(network, log)
    if parser.parse(content):
        return
    fault = parser.get_error(0) if parser.num_errors else None
    named = {node.name: node for node in job.custom}
    if fault is not None and fault.node_name() in named and "lugin" in fault.desc():
        raise _no_plugin(trt, [named[fault.node_name()].name], job, fault.desc())
    facts = {"reason": "; ".join(log.errors[:1]) or "the parser gives none"}
    if fault is not None:
        facts = {
            "node": f"{fault.node_name() or '(no name)'} ({fault.node_operator()})",
            "inside": " < ".join(reversed(fault.local_function_stack())) or "the model itself",
            "reason": fault.desc(),
        }
    raise UnsupportedModel(
        f"{job.flavor} {trt.__version__} cannot read the model",
        facts=facts,
        hint="`adroit build --dry-run` repeats this without a build; report the node if its operator is ours",
    )


def _check_plugin_layers(trt: ModuleType, network: Any, job: Job) -> None:
    """Every custom node must have become a plugin: the parser falls back to a body without a word."""
    if not job.custom:
        return
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    plugins = [layer.name for layer in layers if layer.type == trt.LayerType.PLUGIN_V3]
    if len(plugins) != len(job.custom):
        lost = [node.name for node in job.custom if not any(node.name in name for name in plugins)]
        raise _no_plugin(trt, lost or [node.name for node in job.custom], job, f"{len(plugins)} became plugins")


def _no_plugin(trt: ModuleType, lost: list[str], job: Job, reason: str) -> AdroitError:
    node = next(node for node in job.custom if node.name == lost[0])
    found = registered(trt.get_plugin_registry())
    return EnvironmentFault(
        f"no plugin provides node {node.name!r} ({node.operator})",
        facts={
            "requested": node,
            "registered": text_of(found),
            "the registry": near_miss((node.operator, node.version, node.namespace), found),
            "reason": f"{reason}; the model has {len(job.custom)} nodes that need one",
        },
        hint="use the plugin library of this version of adroit, or build its portable body: --backend tensorrt-rtx",
    )


def _configuration(
    trt: ModuleType, builder: Any, network: Any, job: Job, folder: Path, tell: Tell
) -> tuple[Any, Any | None]:
    """The builder's configuration, and the timing cache that it fills."""
    from polygraphy.backend.trt import CreateConfig, Profile
    from polygraphy.exception import PolygraphyException
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = {"": G_LOGGER.CRITICAL}
    profiles = []
    for profile in job.profiles:
        made = Profile()
        for name, span in profile.ranges.items():
            made.add(name, span.min, span.opt, span.max)
        profiles.append(made)
    limits = {} if job.workspace is None else {trt.MemoryPoolType.WORKSPACE: job.workspace}
    choices = {
        "profiles": profiles,
        "memory_pool_limits": limits,
        "builder_optimization_level": job.optimization_level,
        "progress_monitor": _monitor(trt, tell),
        "version_compatible": job.version_compatible,
        "strip_plan": job.strip_weights,
    }
    try:
        if job.flavor == "tensorrt-rtx":
            from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

            capabilities = [divmod(capability, 10) for capability in job.compute_capabilities]
            return CreateConfigRTX(compute_capabilities=capabilities, **choices)(builder, network), None
        config = CreateConfig(**choices)(builder, network)
    except PolygraphyException as error:
        reason = str(error).strip().split("\n")[0]
        raise EnvironmentFault(f"{job.flavor} {trt.__version__} refuses a setting", facts={"reason": reason}) from error
    if job.version_compatible and job.library:
        config.plugins_to_serialize = [job.library]
    return config, _timing_cache(config, job, folder, tell)


def _timing_cache(config: Any, job: Job, folder: Path, tell: Tell) -> Any | None:
    if not job.timing_cache:
        return None
    old = (folder / CACHE).read_bytes() if (folder / CACHE).exists() else b""
    cache = config.create_timing_cache(old)
    if old and (cache is None or not config.set_timing_cache(cache, ignore_mismatch=False)):
        tell({"notice": "the timing cache does not fit this machine any more; tactics are timed anew"})
        cache = config.create_timing_cache(b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _monitor(trt: ModuleType, tell: Tell) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            tell({"phase": phase_name, "of": parent_phase})

        def step_complete(self, phase_name: str, step: int) -> bool:
            return True

        def phase_finish(self, phase_name: str) -> None:
            pass

    return Monitor()


def _build_error(errors: list[str]) -> AdroitError:
    """The builder gave no plan: what it logged is all there is to go by."""
    memory = next((e for e in errors if any(word in e.lower() for word in MEMORY_WORDS)), None)
    if memory is not None:
        return OutOfResource(
            "the builder ran out of memory",
            facts={"reason": memory},
            hint="lower --workspace, the largest shapes of the profiles, or --optimization-level",
        )
    facts = {"reason": errors[0] if errors else "the builder gives none"}
    # In tensorrt-rtx 1.7: branches of different shapes, or that reckon shapes inside.
    if any(word in e for e in errors for word in ("graphScope", "Data-dependent shapes", "shapeContext.isProxy")):
        return UnsupportedModel(
            "the builder cannot take the model's If nodes",
            facts=facts,
            hint="export with --routing masked or --route, which have none",
        )
    implementation = next((e for e in errors if "Could not find any implementation" in e), None)
    if implementation is not None:
        return UnsupportedModel(
            "the builder found no implementation for a node; a plugin that breaks the rules of CUDA-graph capture"
            " looks like this too",
            facts={"reason": implementation},
            hint="raise --workspace, or try --precision fp32",
        )
    return UnsupportedModel("the builder made no plan", facts=facts)
