"""System shared memory: tensors of clients on this machine, by the name of a region of /dev/shm.

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
_MOST = 256


@dataclass(frozen=True)
class _Open:
    region: Region
    handle: int


class SharedMemory:
    """Registered regions by name. Every method raises Refusal where clients may not use shared memory."""

    def __init__(self, allowed: bool) -> None:
        self._allowed = allowed
        self._regions: dict[str, _Open] = {}

    def register(self, region: Region) -> None:
        """Raises Refusal: a name that is taken, a key that is none, no such region, or one that is too small."""
        self._check_allowed()
        if region.name in self._regions or len(self._regions) >= _MOST:
            raise invalid(f"region {region.name[:80]!r} is registered already, or {_MOST} regions are")
        # A slash would lead out of the folder, a link (refused by the system) too.
        if not _KEY.fullmatch(region.key):
            raise invalid(f"{region.key[:80]!r} is no key of shared memory")
        try:
            handle = os.open(f"{_FOLDER}/{region.key.removeprefix('/')}", _FLAGS)
        except OSError as error:
            raise invalid(f"cannot open shared memory {region.key!r}: {error.strerror}") from error
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode) or not 0 < region.byte_size <= told.st_size - region.offset:
            os.close(handle)
            raise invalid(f"shared memory {region.key!r} has {told.st_size} bytes, fewer than the region's")
        self._regions[region.name] = _Open(region, handle)

    def unregister(self, name: str) -> None:
        """One region, or all if `name` is empty; one that is not registered is no error, as in the protocol."""
        self._check_allowed()
        for each in [name] if name else list(self._regions):
            if found := self._regions.pop(each, None):
                os.close(found.handle)

    def status(self, name: str = "") -> list[Region]:
        """One region, or all if `name` is empty; raises Refusal for one that is not registered."""
        self._check_allowed()
        return [self._find(name).region] if name else [found.region for found in self._regions.values()]

    def read(self, name: str, offset: int, size: int) -> bytes:
        """A copy: what the client writes meanwhile cannot change what was checked."""
        found = self._part(name, offset, size)
        content = os.pread(found.handle, size, found.region.offset + offset)
        if len(content) != size:
            raise invalid(f"region {name[:80]!r} became shorter than it was registered")
        return content

    def write(self, name: str, offset: int, size: int, content: bytes) -> None:
        """Raises Refusal where `content` is longer than the `size` that the client set aside."""
        if len(content) > size:
            raise invalid(f"an output has {len(content)} bytes, region {name[:80]!r} has {size} for it")
        found = self._part(name, offset, size)
        # Writing behind the end would make the client's region longer.
        if os.fstat(found.handle).st_size < found.region.offset + offset + len(content):
            raise invalid(f"region {name[:80]!r} became shorter than it was registered")
        os.pwrite(found.handle, content, found.region.offset + offset)

    def close(self) -> None:
        for found in self._regions.values():
            os.close(found.handle)
        self._regions.clear()

    def _check_allowed(self) -> None:
        if not self._allowed:
            raise Refusal(Reason.FORBIDDEN, "shared memory is not allowed here (--shared-memory)")

    def _find(self, name: str) -> _Open:
        self._check_allowed()
        if name not in self._regions:
            raise invalid(f"no region {name[:80]!r} is registered")
        return self._regions[name]

    def _part(self, name: str, offset: int, size: int) -> _Open:
        found = self._find(name)
        if offset < 0 or size < 0 or offset + size > found.region.byte_size:
            raise invalid(f"region {name[:80]!r} has {found.region.byte_size} bytes, fewer than asked for")
        return found
