"""Everything that needs a GPU, one step after the other: `make gpu-check`.

    python -m tests.gpu.check [--only STEP]

Needs a Python with PyTorch and pytest, nvcc, cmake and g++; no network, and no installed adroit. The steps
with ONNX Runtime also need onnx, onnxruntime-gpu and ONNX Runtime's C headers, and the whole networks, which
tests/gpu/networks.py makes beforehand. Those with TensorRT need its SDK and adroit installed. A step that cannot
run here is a SKIP with its reason. Exit code: 0 when no step failed, 1 otherwise. A new step is a new line of STEPS.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass

from tests.gpu.build import ROOT, NotHere, build_folder


@dataclass(frozen=True)
class Step:
    """A command of this Python; it skips with `SKIP: reason`, or as pytest does."""

    name: str
    arguments: tuple[str, ...]
    needs_build: bool = True


STEPS = [
    Step(
        "references",
        ("-m", "pytest", "-p", "no:cacheprovider", "tests/operators/test_references.py"),
        needs_build=False,
    ),
    Step("kernels", ("-m", "pytest", "-p", "no:cacheprovider", "tests/gpu/test_kernels.py")),
    Step("sanitizers", ("-m", "pytest", "-p", "no:cacheprovider", "tests/gpu/test_sanitizers.py")),
    Step("ONNX Runtime CUDA", ("-m", "pytest", "-p", "no:cacheprovider", "tests/gpu/test_onnxruntime_cuda.py")),
    Step("whole networks", ("-m", "pytest", "-p", "no:cacheprovider", "-s", "tests/gpu/test_networks.py")),
    Step("training", ("-m", "pytest", "-p", "no:cacheprovider", "tests/gpu/test_training.py"), needs_build=False),
    Step(
        "TensorRT plugins",
        ("-m", "pytest", "-p", "no:cacheprovider", "tests/native/test_tensorrt_plugins.py", "-k", "kernels_on_the_gpu"),
    ),
    Step("TensorRT engines", ("-m", "pytest", "-p", "no:cacheprovider", "-s", "tests/gpu/test_engines.py")),
    Step("benchmark", ("-m", "benchmarks.cuda_kernels")),
]


def verdict(code: int, output: str) -> str:
    """PASS, FAIL, or SKIP with the reason, from what a step's process left.

    A step of which some tests were skipped passes, and says so.
    """
    if code:
        return f"FAIL (exit code {code})"
    stopped = re.search(r"^SKIP: (.*)$", output, re.MULTILINE)
    if stopped:
        return f"SKIP: {stopped[1]}"
    reasons = sorted(set(re.findall(r"^SKIPPED \[\d+\] \S+ (.*)$", output, re.MULTILINE)))
    if not reasons:
        return "PASS"
    passed = re.search(r"\b(\d+) passed", output)
    return f"PASS, but skipped: {'; '.join(reasons)}" if passed else f"SKIP: {'; '.join(reasons)}"


def environment() -> dict[str, str]:
    """The environment of every step: where adroit is not installed, its sources are on Python's path."""
    installed = importlib.util.find_spec("adroit")
    if installed and installed.origin:  # a folder of that name alone has no origin
        return {**os.environ}
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def run(step: Step) -> str:
    """Runs one step, showing its output as it comes, and gives its verdict."""
    if step.needs_build:
        try:
            build_folder()
        except NotHere as why:
            return f"SKIP: {why}"
        except RuntimeError as why:
            print(why)
            return "FAIL (the build)"
    lines = []
    command = [sys.executable, *step.arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return verdict(process.returncode, "".join(lines))


def main() -> int:
    parser = argparse.ArgumentParser(description="The checks that need a GPU.")
    parser.add_argument("--only", choices=[step.name for step in STEPS], help="run one step")
    only = parser.parse_args().only
    verdicts = {}
    for step in STEPS:
        if only in (None, step.name):
            print(f"== {step.name}", flush=True)
            verdicts[step.name] = run(step)
    print("\n".join(["== gpu-check", *(f"{name:<17} {result}" for name, result in verdicts.items())]))
    return int(any(result.startswith("FAIL") for result in verdicts.values()))


if __name__ == "__main__":
    sys.exit(main())
