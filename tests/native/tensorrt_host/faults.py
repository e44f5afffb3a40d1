"""The case of the library with faults (faulty_plugins.cpp), and what the host must say of each fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# Fault -> a piece of the failed check's text.
FAULTS = {
    "no runtime": "lacks a capability",
    "no clone": "no clone is made",
    "other clone": "a clone is another",
    "refuses to configure": "configurePlugin gives 1",
    "no format": "no combination of types and formats",
    "another format": "2 combinations are supported",
    "dead end": "dead end",
    "looks ahead": "depends on tensors after",
    "other type": "getOutputDataTypes does not give",
    "other rank": "has 1 dimensions",
    "takes any rank": "a dimension too few is taken",
    "size known too early": "Y has size",
    "other shape": "Y has size",
    "workspace shrinks": "needs more workspace than",
    "no timing cache ID": "timing cache ID is null",
    "refuses shapes": "calls went wrong on 8 threads",
    "wrong numbers": "Y is off by",
    "reads its workspace": "a second run gives other numbers",
    "enqueue fails": "enqueue gives 1",
    "not attached": "attachToContext gives no plugin",
    "forgets a field": "does not come back from its own fields",
    "takes any field": "a plugin is made with",
    "takes any number": "a wrong repeat",
    "lists a field less": "the creator's fields are not the node's",
    "other name": "no creator of Repeat",
    "other version": "no creator of Repeat",
    "other namespace": "no creator of Repeat",
    "twice the same": "is there twice",
}
# Faults that end the process: what stands on its output.
FATAL = {
    "throws": "through a noexcept method",
    "finds the logger": "calls ILoggerFinder::findLogger",
    "no creators": "gives no creators",
}
# Seen by the address sanitizer.
MEMORY = {"workspace too small": "heap-buffer-overflow", "trusts types": "heap-buffer-overflow"}

CASE = """
case repeat   # a library that is not ours
plugin Repeat 2 -
exact
combinations 1
field float32 factor 0.5
field int32 repeat 3
refused int32 repeat 0
refused int32 repeat 1001
input X float32 N C
output Y float32 N C*3
range N 1 9
range C 1 9
run {folder} 0 N=2 C=4
"""


def write_fault_case(folder: Path) -> Path:
    """The case file of `Repeat` with its data."""
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    (folder / "X.bin").write_bytes(x.tobytes())
    (folder / "Y.bin").write_bytes(np.tile(x * np.float32(0.5), (1, 3)).tobytes())
    path = folder / "faults.txt"
    path.write_text(CASE.format(folder=folder))
    return path
