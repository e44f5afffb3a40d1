"""How to start a full Triton Inference Server on a repository."""

from __future__ import annotations

import shlex
from pathlib import Path

from adroit.deploy.triton.needs import TritonNeeds


def triton_command(repository: Path) -> str:
    """A shell command, and as comments what must be in place for it; raises UsageError as TritonNeeds.of."""
    needs = TritonNeeds.of(repository)
    here = [f"--{protocol}-address=127.0.0.1" for protocol in ("http", "grpc", "metrics")]
    words = [*needs.words(str(repository.resolve())), *here]
    return "\n".join([*(f"# {note}" for note in needs.notes), " \\\n    ".join(map(shlex.quote, words))])
