"""The names that a deployment's files and tensors have, and which names a deployment may have."""

from __future__ import annotations

import re

from adroit.errors import UsageError

DESCRIPTION_FILE = "adroit.json"
MODEL_FILE = "1/model.onnx"
REFERENCE_FOLDER = "reference"
TRITON_FILE = "config.pbtxt"
# The input by which a routed network is held to a budget: one value an image.
GATE_THRESHOLD_INPUT = "gate_threshold"
# The second output of a routed network: [N,paths] in the order of RoutingSpace.paths, 0 where a path is closed.
GATES_OUTPUT = "gates"


def check_name(name: str) -> str:
    """Returns `name`; raises UsageError where a repository cannot hold a deployment of that name."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise UsageError(f"{name!r} is not a name for a deployment", hint="use 1 to 64 letters, digits, '_' and '-'")
    return name
