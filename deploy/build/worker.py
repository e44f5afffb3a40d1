"""The building process: `python -m adroit.deploy.build.worker FOLDER DESCRIPTOR`.

It writes one JSON object a line to the file descriptor: what happens, and at the end {"done": facts}
or {"error": ...}. Standard output is NVIDIA's to write to.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from adroit.deploy.build.builder import run_job
from adroit.deploy.build.job import Job
from adroit.errors import AdroitError


def main(folder: Path, descriptor: int) -> None:
    """Runs the job in `folder`, and writes events as lines of JSON to `descriptor`."""

    def tell(event: dict[str, Any]) -> None:
        os.write(descriptor, json.dumps(event).encode() + b"\n")

    try:
        tell({"done": run_job(folder, Job.read(folder), tell)})
    except AdroitError as error:
        facts = {name: str(value) for name, value in error.facts.items()}
        tell({"error": {"kind": type(error).__name__, "message": error.message, "facts": facts, "hint": error.hint}})


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
