"""The command `adroit doctor`."""

from __future__ import annotations

import adroit
from adroit import files
from adroit.deploy.cli.options import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Print what is installed and usable here, and how to get what is not."""
    findings = adroit.doctor()
    if as_json:
        print(files.json_text([f.to_json() for f in findings]), end="")
        return
    for f in findings:
        state = "missing" if not f.usable else "warning" if f.remedy else "ok"
        print(f"{state:<7}  {f.name:<17} {f.detail}")
        if f.remedy:
            print(f"{'':<26} -> {f.remedy}")
