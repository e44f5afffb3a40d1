"""Timings of tactics, kept between builds: a second build of a like network takes a fraction.

A cache is of use on the same GPU, driver, TensorRT and plugin library only, so these make its name.
The folder is the user's own (0700), and a cache whose hash does not fit is not read.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from adroit import files
from adroit.deploy.runtimes.tensorrt.gpu import Gpu


def cache_file(gpu: Gpu, tensorrt: str, plugins: str) -> Path:
    """Where the timings of this combination are; `plugins` is the library's sha256, or nothing."""
    key = "\n".join([gpu.name, str(gpu.compute_capability), gpu.driver, tensorrt, plugins])
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "adroit" / "timing" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.cache"


def read_cache(path: Path) -> bytes:
    """The cache, or nothing where there is none or it is not what was written."""
    try:
        content = path.read_bytes()
        expected = _hash_file(path).read_text().strip()
    except OSError:
        return b""
    return content if hashlib.sha256(content).hexdigest() == expected else b""


def write_cache(path: Path, content: bytes) -> None:
    """Replaces the cache; raises as files.write_bytes."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write_bytes(path, content)
    files.write_bytes(_hash_file(path), hashlib.sha256(content).hexdigest().encode())


def _hash_file(path: Path) -> Path:
    return path.with_suffix(".sha256")
