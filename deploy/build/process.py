"""Runs the building process, and turns what may happen to it into errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adroit import errors
from adroit.deploy.build.job import Job
from adroit.errors import AdroitError, OutOfResource, UnsupportedModel

# Called with what the builder is doing, and with one-line notices.
Progress = Callable[[str], None]


def run_in_process(folder: Path, job: Job, progress: Progress | None = None) -> dict[str, Any]:
    """Runs `job` on the model in `folder`; what the builder says of itself.

    Raises:
        AdroitError: as builder.run_job.
        OutOfResource: the system ended the process for its memory.
        UnsupportedModel: the process ended itself; the error has the last line that it wrote.
    """
    job.write(folder)
    reading, writing = os.pipe()
    written = folder / "output.txt"
    with open(written, "wb") as output:
        # -P: a file in the user's working directory must not stand in for a package.
        command = [sys.executable, "-P", "-m", "adroit.deploy.build.worker", str(folder), str(writing)]
        child = subprocess.Popen(command, pass_fds=[writing], stdout=output, stderr=subprocess.STDOUT)
    os.close(writing)
    answer: dict[str, Any] = {}
    try:
        with open(reading, encoding="utf-8") as events:
            for line in events:
                event = json.loads(line)
                if "done" in event or "error" in event:
                    answer = event
                elif progress is not None:
                    progress(event.get("notice") or event["phase"])
    finally:
        # An interrupt of ours must not leave a builder behind.
        if child.poll() is None and not answer:
            child.terminate()
        code = child.wait()
    if "done" in answer:
        done: dict[str, Any] = answer["done"]
        return done
    if "error" in answer:
        raise _error(answer["error"])
    raise _ended(code, job, written.read_text(errors="replace").strip().split("\n")[-1])


def _error(event: dict[str, Any]) -> AdroitError:
    kind: type[AdroitError] = getattr(errors, event["kind"])
    return kind(event["message"], facts=event["facts"], hint=event["hint"])


def _ended(code: int, job: Job, last: str) -> AdroitError:
    """The process is gone without an answer."""
    if -code == signal.SIGKILL:
        return OutOfResource(
            "the building process was killed, which a system does when memory runs out",
            hint="lower --workspace or the largest shapes of the profiles, or build where there is more memory",
        )
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return UnsupportedModel(
        f"{job.flavor}'s own code ended the building process ({how})",
        facts={"last line": last or "none"},
        hint="`adroit build --dry-run` tells whether the parser or the builder does it",
    )
