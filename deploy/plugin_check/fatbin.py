"""The GPU architectures that a library has code for, from the bytes of its .nv_fatbin section.

The section is a row of containers, each a header (magic, version, header size, content size) and then
entries, each with a header of its own: kind at byte 0, header size at 4, content size at 8, architecture
at 28. That is not documented by NVIDIA; it is what nvcc 10 to 13 write, and anything else is "unknown".
"""

from __future__ import annotations

import struct

_MAGIC = 0xBA55ED50
_CONTAINER = struct.Struct("<IHHQ")
_ENTRY = struct.Struct("<HHIQ12xI")
_PTX, _CUBIN = 1, 2


def architectures(section: bytes) -> list[str] | None:
    """Returns, for example, ["sm_75", "sm_90", "compute_90"] (machine code, then PTX); None for unknown contents."""
    codes: set[tuple[int, int]] = set()
    at = 0
    try:
        while at < len(section):
            magic, version, header, size = _CONTAINER.unpack_from(section, at)
            if magic == 0:  # containers are padded
                at += 4
                continue
            if magic != _MAGIC or version != 1 or at + header + size > len(section):
                return None
            codes |= _entries(section[at + header : at + header + size])
            at += header + size
    except (struct.error, ValueError):
        return None if section[at:].strip(b"\0") else _names(codes)
    return _names(codes)


def _entries(content: bytes) -> set[tuple[int, int]]:
    codes = set()
    at = 0
    while at < len(content):
        kind, _, header, size, architecture = _ENTRY.unpack_from(content, at)
        if kind not in (_PTX, _CUBIN) or header < _ENTRY.size or not 0 < architecture < 1000:
            raise ValueError("not an entry that we know")
        codes.add((-kind, architecture))
        at += header + size
    return codes


def _names(codes: set[tuple[int, int]]) -> list[str]:
    return [f"{'compute' if kind == -_PTX else 'sm'}_{number}" for kind, number in sorted(codes)]
