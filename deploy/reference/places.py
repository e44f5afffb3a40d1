"""Where in a user's network something happened: the module's path and the line of the user's code."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import nn

_PACKAGE = Path(__file__).resolve().parents[2]
# Code in these folders is not the user's: PyTorch, and adroit's layers, operators and toolchain.
_LIBRARIES = tuple(
    f"{folder}/"
    for folder in (
        Path(torch.__file__).parent,
        _PACKAGE / "deploy",
        _PACKAGE / "models" / "layers",
        _PACKAGE / "models" / "operators",
    )
)
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in ')
_REPEATED = re.compile(r"@\d+")  # a module that is called again: `act@1`
_NOWHERE = "_empty_nn_module_stack"  # what the exporter adds by itself
NETWORK = "(the network itself)"


def is_library(file: str) -> bool:
    """Whether `file` is code of PyTorch's or adroit's own rather than the user's."""
    return file.startswith(("<", *_LIBRARIES))


def module_of(meta: Mapping[str, Any]) -> str:
    """Path of the innermost module that called a traced node; "" is the network."""
    stack = [item for item in (meta.get("nn_module_stack") or {}).values() if not item[0].startswith(_NOWHERE)]
    return _REPEATED.sub("", stack[-1][0]) if stack else ""


def source_of(meta: Mapping[str, Any]) -> str:
    """The user's innermost line behind a traced node, as `net.py:34`; "" where there is none."""
    if any(key.startswith(_NOWHERE) for key in meta.get("nn_module_stack") or {}):
        return ""
    frames = [(file, line) for file, line in _FRAME.findall(meta.get("stack_trace") or "") if not is_library(file)]
    return f"{Path(frames[-1][0]).name}:{frames[-1][1]}" if frames else ""


def facts_of_error(error: BaseException, network: nn.Module) -> dict[str, str]:
    """Module path and source line of the user's code in which `error` was raised, with that line's text."""
    paths = {id(module): path for path, module in network.named_modules()}
    module, frames = _walk(error.__traceback__, paths)
    facts = {} if module is None else {"module": module or NETWORK}
    if module is not None and frames:
        last = frames[-1]
        facts["source"] = f"{_shown(last.filename)}:{last.lineno}, in {last.name}"
        facts |= {"code": last.line} if last.line else {}
    return facts


def _walk(start: TracebackType | None, paths: Mapping[int, str]) -> tuple[str | None, list[traceback.FrameSummary]]:
    """Path of the innermost module whose code the traceback passes, and the user's frames inside the network."""
    module: str | None = None
    frames = []
    for frame, line in traceback.walk_tb(start):
        module = _path_of(frame, paths) if _path_of(frame, paths) is not None else module
        if module is not None and not is_library(frame.f_code.co_filename):
            frames.append(traceback.FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_name))
    return module, frames


def _path_of(frame: FrameType, paths: Mapping[int, str]) -> str | None:
    """Of the module whose method the frame is; None where it is none of the network's."""
    code = frame.f_code
    if code.co_argcount == 0 or (is_library(code.co_filename) and code.co_name not in ("forward", "_call_impl")):
        return None
    return paths.get(id(frame.f_locals.get(code.co_varnames[0])))


def _shown(file: str) -> str:
    """The path as the user would write it: relative where it lies in the current folder."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
