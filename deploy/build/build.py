"""`adroit build`: checks, the building process, and the result in the deployment."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from adroit import files
from adroit.deploy.build.choices import Backend, Precision
from adroit.deploy.build.job import CACHE, MODEL, PLAN, Job
from adroit.deploy.build.limits import check_limits
from adroit.deploy.build.options import BuildOptions
from adroit.deploy.build.prepare import Form, Prepared, prepare
from adroit.deploy.build.process import Progress, run_in_process
from adroit.deploy.build.profiles import profiles_for
from adroit.deploy.build.store import built_file, store
from adroit.deploy.build.timing_cache import cache_file, read_cache, write_cache
from adroit.deploy.deployment.builds import (
    BuildRecord,
    GpuRecord,
    LibraryRecord,
    PlanRecord,
    TensorRTBuild,
    TensorRTRtxBuild,
)
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.builds import find_build
from adroit.deploy.runtimes.tensorrt.gpu import Gpu, find_gpu
from adroit.deploy.runtimes.tensorrt.modules import Flavor, import_tensorrt
from adroit.deploy.runtimes.tensorrt.plan import read_plan_header
from adroit.deploy.runtimes.tensorrt.plugin_library import plugin_library
from adroit.deploy.runtimes.tensorrt.profiles import Profile
from adroit.errors import EnvironmentFault, OutOfResource, UnsupportedModel, UsageError


@dataclass(frozen=True)
class Built:
    """A finished build: the version folder's name and the record that adroit.json now has."""

    deployment: Deployment
    version: str
    record: BuildRecord


@dataclass(frozen=True)
class Checked:
    """One line of a dry run: whether it is right, and what was looked at or is missing."""

    right: bool
    what: str


def build_deployment(deployment: Deployment, options: BuildOptions, progress: Progress | None = None) -> Built:
    """Builds `deployment`; nothing in it changes unless all goes well.

    Raises:
        UsageError, UnsupportedModel: options, profiles or a model that cannot be built.
        EnvironmentFault: SDK, plugin library or GPU is not there.
        OutOfResource: memory or disk.
    """
    options.check()
    if options.backend == Backend.onnxruntime:
        from adroit.deploy.build.onnxruntime_file import optimize

        with _folder() as folder:
            built, record = optimize(deployment, folder)
            return _stored(deployment, built, None, record)
    prepared, profiles = _prepared(deployment, options)
    if options.backend == Backend.tensorrt:
        import_tensorrt("tensorrt")
    library = plugin_library() if prepared.custom else None
    gpu = _gpu(options)
    with _folder() as folder:
        job = _job(options, prepared, profiles, library)
        files.write_bytes(folder / MODEL, prepared.content)
        cache = _bring_cache(gpu, job, folder)
        start = time.perf_counter()
        facts = run_in_process(folder, job, progress)
        seconds = time.perf_counter() - start
        if cache is not None and (folder / CACHE).exists():
            write_cache(cache, (folder / CACHE).read_bytes())
        kind = TensorRTRtxBuild if options.backend == Backend.tensorrt_rtx else TensorRTBuild
        plan = kind(
            **built_file(deployment, options.precision.value, folder / PLAN),
            builder=f"{job.flavor} {facts['version']}",
            form=prepared.form,
            profiles={profile.name: profile.ranges for profile in profiles},
            plan=_checked_header(folder / PLAN, job, facts["version"]),
            layers=facts["layers"],
            gpu=None if gpu is None else GpuRecord(gpu.name, gpu.compute_capability),
            plugins=None if library is None else LibraryRecord(library.name, files.sha256(library)),
            version_compatible=job.version_compatible,
            weights_stripped=job.strip_weights,
            keep=tuple(options.keep),
            seconds=round(seconds, 3),
        )
        return _stored(deployment, folder / PLAN, prepared, plan)


def _gpu(options: BuildOptions) -> Gpu | None:
    """The GPU to build on; none for tensorrt-rtx, which builds ahead of time."""
    if options.backend == Backend.tensorrt:
        return find_gpu()
    if options.strip_weights:
        try:
            find_gpu()
        except EnvironmentFault as error:
            raise EnvironmentFault(
                "tensorrt-rtx makes plans without weights only where a GPU is",
                facts={"reason": error.message},
                hint="leave --strip-weights out, or build on the machine with the GPU",
            ) from error
    return None


def refit_deployment(deployment: Deployment, version: int, backend: Backend, progress: Progress | None = None) -> Built:
    """The build `version`, made without weights, as a new version with the weights of the deployment's model.

    Raises:
        UsageError: no such build, or one that has its weights.
        UnsupportedModel, EnvironmentFault, OutOfResource: as build_deployment.
    """
    name, record, plan = find_build(deployment, backend, version)
    if not isinstance(record, TensorRTBuild) or not record.weights_stripped:
        raise UsageError(f"build {name} of {deployment.path} has its weights", facts={"file": plan})
    options = BuildOptions(backend, Precision(record.precision))
    prepared = prepare(deployment, record.form, options.precision, record.keep)
    find_gpu()
    library = plugin_library() if prepared.custom else None
    profiles = [Profile(profile, ranges) for profile, ranges in record.profiles.items()]
    with _folder() as folder:
        job = msgspec.structs.replace(_job(options, prepared, profiles, library), refit=True, timing_cache=False)
        files.write_bytes(folder / MODEL, prepared.content)
        files.write_bytes(folder / PLAN, plan.read_bytes())
        facts = run_in_process(folder, job, progress)
        refitted = msgspec.structs.replace(
            record,
            **built_file(deployment, record.precision, folder / PLAN),
            weights_stripped=False,
            refitted_from=name,
            layers=facts["layers"],
        )
        return _stored(deployment, folder / PLAN, prepared, refitted)


def dry_run(deployment: Deployment, options: BuildOptions) -> list[Checked]:
    """Everything that can be checked without a GPU; what is wrong with the request itself is raised."""
    options.check()
    prepared: Prepared | None = None
    lines = []
    if options.backend == Backend.onnxruntime:
        deployment.load_model()
        lines.append(Checked(True, "the model is the exported one"))
        return lines
    prepared, profiles = _prepared(deployment, options)
    lines.append(Checked(True, f"model in form {prepared.form}, {options.precision}: {len(prepared.content)} bytes"))
    if prepared.kept:
        lines.append(Checked(True, f"{len(prepared.kept)} nodes stay float32, or have parts that do"))
    lines += [Checked(True, f"profile {p.name}: {_text(p)}") for p in profiles]
    if options.backend == Backend.tensorrt:
        lines.append(_tried("TensorRT", lambda: import_tensorrt("tensorrt").__version__))
        if prepared.custom:
            lines.append(_tried("plugin library", lambda: str(plugin_library())))
        lines.append(_tried("GPU", lambda: find_gpu().name))
    lines.append(_tried("parser", lambda: _parsed(deployment, options, profiles)))
    return lines


def _tried(what: str, look: Any) -> Checked:
    try:
        return Checked(True, f"{what}: {look()}")
    except EnvironmentFault as error:
        return Checked(False, f"{what}: {error.message}" + (f" ({error.hint})" if error.hint else ""))


def _parsed(deployment: Deployment, options: BuildOptions, profiles: list[Profile]) -> str:
    """The bodies through the parser that needs no GPU; TensorRT's own reads the same language."""
    prepared = prepare(deployment, "functions", options.precision, options.keep)
    with _folder() as folder:
        files.write_bytes(folder / MODEL, prepared.content)
        facts = run_in_process(folder, Job("tensorrt-rtx", (), None, tuple(profiles), parse_only=True))
    return f"tensorrt-rtx {facts['version']} reads the model with portable bodies, {facts['layers']} layers"


def _prepared(deployment: Deployment, options: BuildOptions) -> tuple[Prepared, list[Profile]]:
    if deployment.info.quantization is not None and options.backend == Backend.tensorrt_rtx:
        raise UnsupportedModel(
            f"{deployment.path} is in 8 bits, which tensorrt-rtx cannot build",
            facts={
                "reason": "it takes no plugins, and 8-bit constants only where plugins or DequantizeLinear read them"
            },
            hint="use --backend tensorrt or onnxruntime, or build the float32 deployment that it was made from",
        )
    profiles = profiles_for(deployment.info, options.profiles)
    form: Form = "functions" if options.backend == Backend.tensorrt_rtx else "plugins"
    prepared = prepare(deployment, form, options.precision, options.keep)
    check_limits(deployment.load_model(), deployment.info, profiles)
    return prepared, profiles


def _job(options: BuildOptions, prepared: Prepared, profiles: list[Profile], library: Path | None) -> Job:
    flavor: Flavor = "tensorrt-rtx" if options.backend == Backend.tensorrt_rtx else "tensorrt"
    return Job(
        flavor,
        prepared.custom,
        None if library is None else str(library),
        tuple(profiles),
        tuple(sorted(set(options.compute_capabilities))),
        None if options.workspace is None else options.workspace * 2**20,
        options.version_compatible,
        options.strip_weights,
        options.optimization_level,
        # tensorrt-rtx times nothing ahead of time.
        options.timing_cache and flavor == "tensorrt",
    )


def _bring_cache(gpu: Gpu | None, job: Job, folder: Path) -> Path | None:
    """Puts the kept timings beside the job; where they are kept."""
    if gpu is None or not job.timing_cache:
        return None
    version = import_tensorrt(job.flavor).__version__
    cache = cache_file(gpu, version, files.sha256(Path(job.library)) if job.library else "")
    if old := read_cache(cache):
        files.write_bytes(folder / CACHE, old)
    return cache


def _checked_header(plan: Path, job: Job, version: str) -> PlanRecord:
    """The header of the plan, after checking that it is of the job's flavor, version and compute capabilities."""
    header = read_plan_header(plan)
    record, expected = header.record(), job.compute_capabilities
    # Python's version of a package may lack the build number, or have more behind it.
    same = all(a == b for a, b in zip(record.version.split("."), version.split("."), strict=False))
    if header.kind != job.flavor or not same or record.compute_capabilities != expected:
        raise UnsupportedModel(
            "the plan is not the one that was requested",
            facts={
                "plan": msgspec.to_builtins(record),
                "requested": {"version": version, "compute_capabilities": expected},
            },
        )
    return record


def _stored(deployment: Deployment, built: Path, prepared: Prepared | None, record: BuildRecord) -> Built:
    updated, version = store(deployment, built, prepared.kept if prepared else (), record)
    return Built(updated, version, updated.info.builds[version])


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="adroit-build-") as name:
            yield Path(name)
    except OSError as error:
        raise OutOfResource("cannot make a temporary folder", facts={"reason": error}, hint="set TMPDIR") from error


def _text(profile: Profile) -> str:
    parts = []
    for name, span in profile.ranges.items():
        shapes = list(dict.fromkeys("x".join(map(str, s)) for s in span.shapes.values()))
        parts.append(f"{name} {' to '.join(shapes)}")
    return ", ".join(parts)
