"""Finds the NVIDIA GPU of this machine by the driver itself: no package is needed.

TensorRT must not come first: without a driver its Python bindings hand out a null runtime, and
the next call ends the process.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from adroit.errors import EnvironmentFault

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True)
class Gpu:
    """Name, compute capability (10 * major + minor), and the newest CUDA that its driver knows, as 13.0."""

    name: str
    compute_capability: int
    driver: str


def find_gpu() -> Gpu:
    """The first GPU that CUDA shows.

    Raises:
        EnvironmentFault: no driver, or no GPU.
    """
    hint = "run this on the machine with the GPU; tensorrt-rtx builds ahead of time on any machine"
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise EnvironmentFault("no NVIDIA driver here", facts={"reason": error}, hint=hint) from error
    device, version, count = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    failed = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if failed or count.value == 0:
        raise EnvironmentFault("no NVIDIA GPU here", facts={"CUDA error": failed}, hint=hint)
    name = ctypes.create_string_buffer(256)
    parts = [ctypes.c_int(), ctypes.c_int()]
    cuda.cuDeviceGet(ctypes.byref(device), 0)
    cuda.cuDeviceGetName(name, len(name), device)
    for part, attribute in zip(parts, (_MAJOR, _MINOR), strict=True):
        cuda.cuDeviceGetAttribute(ctypes.byref(part), attribute, device)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Gpu(name.value.decode(), 10 * parts[0].value + parts[1].value, driver)
