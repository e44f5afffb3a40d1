"""The one place that imports ONNX Runtime.

Since 1.29 its builds send Microsoft what they run, and keep a file of it in the user's ~/.cache, unless the
environment says otherwise before it is imported. Here that is off until a user turns it on.
"""

from __future__ import annotations

import os
from typing import Any

from adroit.errors import EnvironmentFault

VARIABLE = "ORT_DISABLE_TELEMETRY"
# What a user writes who wants telemetry. ONNX Runtime takes any word that it does not know for that too; we do not.
_WANTED = ("0", "false", "no", "off")


def telemetry_is_wanted() -> bool:
    """Tells whether the user turned ONNX Runtime's telemetry on: ORT_DISABLE_TELEMETRY is 0, false, no or off."""
    return os.environ.get(VARIABLE, "").strip().lower() in _WANTED


def import_onnxruntime() -> Any:
    """Returns the module `onnxruntime`, its telemetry off here and in child processes unless the user turned it on.

    Raises:
        EnvironmentFault: ONNX Runtime is not installed, or cannot be imported.
    """
    if not telemetry_is_wanted() and os.environ.get(VARIABLE) != "1":
        os.environ[VARIABLE] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        absent = error.name == "onnxruntime"
        raise EnvironmentFault(
            "ONNX Runtime is not installed" if absent else f"ONNX Runtime cannot be imported: {error}",
            hint="pip install 'adroit-deploy[cpu]', or [gpu] for NVIDIA GPUs",
        ) from error
    if not telemetry_is_wanted():
        onnxruntime.disable_telemetry_events()  # the user's program may have imported it before us
    return onnxruntime
