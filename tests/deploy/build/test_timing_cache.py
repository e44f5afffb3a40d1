"""Timings kept between builds: found again for the same machine only, and not read where they were changed."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pytest

from adroit.deploy.build.timing_cache import cache_file, read_cache, write_cache
from adroit.deploy.runtimes.tensorrt.gpu import Gpu

GPU = Gpu("NVIDIA GeForce RTX 4090", 89, "13.0")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_cache_is_found_again(tmp_path: Path) -> None:
    path = cache_file(GPU, "11.4.0.106", "abc")
    assert read_cache(path) == b""
    write_cache(path, b"timings")
    assert read_cache(cache_file(GPU, "11.4.0.106", "abc")) == b"timings"
    assert path.is_relative_to(tmp_path / "cache")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_every_part_of_the_machine_makes_another_cache() -> None:
    others = [
        cache_file(dataclasses.replace(GPU, name="NVIDIA GeForce RTX 4080"), "11.4.0.106", "abc"),
        cache_file(dataclasses.replace(GPU, compute_capability=86), "11.4.0.106", "abc"),
        cache_file(dataclasses.replace(GPU, driver="12.8"), "11.4.0.106", "abc"),
        cache_file(GPU, "11.0.0.0", "abc"),
        cache_file(GPU, "11.4.0.106", "abd"),
    ]
    assert len({cache_file(GPU, "11.4.0.106", "abc"), *others}) == 6


@pytest.mark.parametrize("content", [b"", b"timing", b"timings!", b"Timings"])
def test_a_changed_cache_is_not_read(content: bytes) -> None:
    path = cache_file(GPU, "11.4.0.106", "abc")
    write_cache(path, b"timings")
    path.write_bytes(content)
    assert read_cache(path) == b""
