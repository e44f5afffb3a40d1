"""Reading a deployment's description, of this format or an older one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adroit import files
from adroit.deploy.deployment.description import FORMAT, Description
from adroit.deploy.deployment.format1 import from_format1
from adroit.deploy.deployment.names import DESCRIPTION_FILE
from adroit.errors import UsageError
from adroit.validation import convert_values

# Parts that a command measures, and the command.
_MEASURED = {
    "parity": "check DEPLOYMENT --data IMAGES",
    "budget": "budget DEPLOYMENT --data IMAGES",
    "latency": "profile DEPLOYMENT --data IMAGES",
}


def read_description(folder: Path) -> Description:
    """Reads the description of the deployment in `folder`.

    Raises:
        UsageError: `folder` is not a deployment, or its description is damaged or of a later format. The message
            names the file and the place in it.
    """
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise UsageError(
            f"{folder} is not a deployment: it has no {DESCRIPTION_FILE}",
            hint="give REPOSITORY/NAME, as `adroit export` printed it",
        )
    return description_from_json(files.read_json(path, "the deployment's description"), str(path))


def description_from_json(values: Mapping[str, Any], source: str) -> Description:
    """Converts the content of adroit.json; raises UsageError, with `source` and the place, if it cannot."""
    stored = values.get("format")
    if stored == 1:
        values = from_format1(values)
    elif isinstance(stored, int) and stored > FORMAT:
        raise UsageError(
            f"{source} has format {stored}, and this adroit reads formats up to {FORMAT}",
            hint="a later adroit wrote it: upgrade this one, or export the network again with this one",
        )
    elif stored != FORMAT:
        raise UsageError(f"{source} is not a deployment's description: its format is {stored!r}, not {FORMAT}")
    try:
        return convert_values(values, Description, source=source, noun="a deployment's description")
    except UsageError as error:
        part = next((part for part in _MEASURED if error.message.startswith(f"{source}: {part}")), None)
        if part and not error.hint:
            hint = f"set {part} to null in the file, and measure it again: adroit {_MEASURED[part]}"
            raise UsageError(error.message, facts=error.facts, hint=hint) from error
        raise
