"""The most taps a second that this CPU's instructions allow (peak.cpp), measured in the calling process."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Sample, Timing, run_time

ROUNDS = 20_000
# Taps of a pair of instructions that count. Of vdbpsadbw's four taps a kernel that is 3 wide uses three.
TAPS = {
    "windows": 128 * 3 // 4,
    "windows_saturating": 128 * 3 // 4,
    "channels": 64,
    "channels_saturating": 64,
    "maxima": 16,
    "maxima_of_bits": 16,
}


def _has_instructions() -> bool:
    cpu_info = Path("/proc/cpuinfo")
    return cpu_info.exists() and "avx512bw" in cpu_info.read_text()


def load_peaks() -> ctypes.CDLL | None:
    """peak.cpp, built for this process; None where there is no compiler or the CPU lacks the instructions."""
    source = Path(__file__).parent / "peak.cpp"
    if not _has_instructions():
        return None
    with TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        command = ["g++", "-O2", "-shared", "-fPIC", "-mavx512bw", str(source), "-o", str(library)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        peaks = ctypes.CDLL(str(library))
    peaks.pairs.restype = ctypes.c_int64
    for name in TAPS:
        getattr(peaks, name).argtypes = [ctypes.c_int64]
    return peaks


def peak_samples(peaks: ctypes.CDLL | None, names: tuple[str, ...]) -> dict[str, Sample]:
    """Returns one call for each of the instruction mixes `names`, to be timed with the kernels."""
    if peaks is None:
        return {}
    return {f"peak {n}": run_time(partial(getattr(peaks, n), ROUNDS)) for n in names}


def gigataps(peaks: ctypes.CDLL | None, timings: Mapping[str, Timing]) -> dict[str, float]:
    """Gigataps a second of each mix that was timed, by its name in TAPS."""
    if peaks is None:
        return {}
    pairs = ROUNDS * peaks.pairs()
    return {n: pairs * TAPS[n] / timings[f"peak {n}"].median / 1e6 for n in TAPS if f"peak {n}" in timings}
