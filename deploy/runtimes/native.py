"""The native operator library: where it is and what it says of itself."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from adroit.deploy.operators.definitions import plugin_files
from adroit.errors import EnvironmentFault

VARIABLE = "ADROIT_ONNXRUNTIME_LIBRARY"


def native_library() -> Path:
    """The ONNX Runtime custom-op library: the one that ADROIT_ONNXRUNTIME_LIBRARY names, else the installed one.

    Raises:
        EnvironmentFault: it is not there.
    """
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else Path(str(plugin_files())) / "libadroit_onnxruntime.so"
    if not path.is_file():
        raise EnvironmentFault(
            "the native operator library is missing",
            facts={"searched": path},
            hint="install again where g++, cmake and ONNX Runtime's headers are found (`pip install .` says what it"
            " lacks), or run the portable bodies, slowly, with `--operators portable`",
        )
    return path


def instruction_set(library: Path) -> str:
    """Which instruction set the library's kernels use here: avx512, avx2 or generic.

    Raises:
        EnvironmentFault: the file cannot be loaded, or the forced set is not available.
    """
    try:
        function = ctypes.CDLL(str(library)).adroit_instruction_set
    except (OSError, AttributeError) as error:
        raise EnvironmentFault(f"{library} is not a usable operator library", facts={"reason": error}) from error
    function.restype = ctypes.c_char_p
    answer: str = function().decode()
    if answer.startswith("error: "):
        raise EnvironmentFault(answer.removeprefix("error: "))
    return answer
