"""System shared memory: tensors of clients on this machine, in named regions of /dev/shm.

Regions are read and written through their file, never mapped: a client that shortens its region after
registering it would end the server by SIGBUS, where a read just ends early.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass

from adroit.deploy.serve.protocol.messages import Region
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid

_KEY = re.compile(r"/?[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}")
_FOLDER = "/dev/shm"
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MAXIMUM_REGIONS = 256


@dataclass(frozen=True)
class _OpenRegion:
    region: Region
    handle: int


class SharedMemory:
    """The registered regions, by name. Every method raises Refusal where clients may not use shared memory."""

    def __init__(self, allowed: bool) -> None:
        self._allowed = allowed
        self._regions: dict[str, _OpenRegion] = {}

    def register(self, region: Region) -> None:
        """Open a region. Raises Refusal for a name in use, a wrong key, and a region that is missing or too small."""
        self._check_allowed()
        if region.name in self._regions or len(self._regions) >= _MAXIMUM_REGIONS:
            raise invalid(f"region {region.name[:80]!r} is registered already, or {_MAXIMUM_REGIONS} regions are")
        # A slash would lead out of the folder, a link (refused by the system) too.
        if not _KEY.fullmatch(region.key):
            raise invalid(f"{region.key[:80]!r} is not a key of shared memory")
        try:
            handle = os.open(f"{_FOLDER}/{region.key.removeprefix('/')}", _FLAGS)
        except OSError as error:
            raise invalid(f"cannot open shared memory {region.key!r}: {error.strerror}") from error
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or not 0 < region.byte_size <= status.st_size - region.offset:
            os.close(handle)
            raise invalid(f"shared memory {region.key!r} has {status.st_size} bytes, fewer than the region's")
        self._regions[region.name] = _OpenRegion(region, handle)

    def unregister(self, name: str) -> None:
        """Forget one region, or all if `name` is empty; an unknown one is no error, as in the protocol."""
        self._check_allowed()
        for each in [name] if name else list(self._regions):
            if opened := self._regions.pop(each, None):
                os.close(opened.handle)

    def status(self, name: str = "") -> list[Region]:
        """Return one region, or all if `name` is empty. Raises Refusal for one that is not registered."""
        self._check_allowed()
        return [self._find(name).region] if name else [opened.region for opened in self._regions.values()]

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return a copy of `size` bytes: what the client writes meanwhile cannot change what was checked."""
        opened = self._find_part(name, offset, size)
        content = os.pread(opened.handle, size, opened.region.offset + offset)
        if len(content) != size:
            raise invalid(f"region {name[:80]!r} became shorter than it was registered")
        return content

    def write(self, name: str, offset: int, size: int, content: bytes) -> None:
        """Write `content`. Raises Refusal where it is longer than the `size` that the client set aside."""
        if len(content) > size:
            raise invalid(f"an output has {len(content)} bytes, region {name[:80]!r} has {size} for it")
        opened = self._find_part(name, offset, size)
        # Writing behind the end would make the client's region longer.
        if os.fstat(opened.handle).st_size < opened.region.offset + offset + len(content):
            raise invalid(f"region {name[:80]!r} became shorter than it was registered")
        os.pwrite(opened.handle, content, opened.region.offset + offset)

    def close(self) -> None:
        """Close all regions."""
        for opened in self._regions.values():
            os.close(opened.handle)
        self._regions.clear()

    def _check_allowed(self) -> None:
        if not self._allowed:
            raise Refusal(Reason.FORBIDDEN, "shared memory is not allowed here (--shared-memory)")

    def _find(self, name: str) -> _OpenRegion:
        self._check_allowed()
        if name not in self._regions:
            raise invalid(f"no region {name[:80]!r} is registered")
        return self._regions[name]

    def _find_part(self, name: str, offset: int, size: int) -> _OpenRegion:
        opened = self._find(name)
        if offset < 0 or size < 0 or offset + size > opened.region.byte_size:
            raise invalid(f"region {name[:80]!r} has {opened.region.byte_size} bytes, fewer than requested")
        return opened
