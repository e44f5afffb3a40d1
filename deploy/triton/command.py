"""How to start a full Triton Inference Server on a repository."""

from __future__ import annotations

import shlex
from pathlib import Path

from adroit.deploy.runtimes.onnxruntime_package import VARIABLE
from adroit.deploy.triton.needs import TritonNeeds


def triton_command(repository: Path) -> str:
    """A shell command, and as comments what must be in place for it; raises UsageError as TritonNeeds.of.

    Triton's ONNX Runtime reports to Microsoft unless the command's first word tells it not to.
    """
    needs = TritonNeeds.of(repository)
    here = [f"--{protocol}-address=127.0.0.1" for protocol in ("http", "grpc", "metrics")]
    words = [f"{VARIABLE}=1", *needs.words(str(repository.resolve())), *here]
    return "\n".join([*(f"# {note}" for note in needs.notes), " \\\n    ".join(map(shlex.quote, words))])
