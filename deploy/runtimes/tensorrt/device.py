"""Device memory, streams and graphs, by PyTorch.

Not by cuda-python: PyTorch is a dependency already and has a CUDA build wherever TensorRT runs, its
allocator is the one that the rest of a process shares memory with, and pinned buffers, streams and
graph capture come with it. cuda-python would be a second way to hold the same GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adroit.errors import EnvironmentFault, OutOfResource

_TYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int64": torch.int64,
    "bool": torch.bool,
}


class Device:
    """One GPU and a stream of its own; everything it does is queued on that stream."""

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise EnvironmentFault(
                "PyTorch sees no GPU here",
                facts={"torch": torch.__version__},
                hint="install a PyTorch built for CUDA; `adroit doctor` tells what is here",
            )
        self._stream = torch.cuda.Stream()

    @property
    def stream(self) -> int:
        """The CUDA stream's handle."""
        return int(self._stream.cuda_stream)

    def empty(self, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
        """Device memory; raises OutOfResource where there is none left."""
        try:
            with torch.cuda.stream(self._stream):
                return torch.empty(shape, dtype=_TYPES[dtype], device="cuda")
        except torch.OutOfMemoryError as error:
            raise OutOfResource(
                "the GPU's memory is full", facts={"requested": f"{dtype} {list(shape)}"}, hint="lower --batch"
            ) from error

    def upload(self, array: NDArray[Any], buffer: torch.Tensor) -> None:
        """Queues a copy of `array` into `buffer` on the device."""
        with torch.cuda.stream(self._stream):
            buffer.copy_(torch.from_numpy(np.ascontiguousarray(array)).pin_memory(), non_blocking=True)

    def download(self, buffers: dict[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
        """Copies to the host; waits once, for all of them."""
        with torch.cuda.stream(self._stream):
            host = {name: b.to("cpu", non_blocking=True) for name, b in buffers.items()}
        self._stream.synchronize()
        return {name: value.numpy() for name, value in host.items()}

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Records `work`, which must run on `stream` only; what replays it.

        Raises:
            EnvironmentFault: the work cannot be captured.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                work()
        except RuntimeError as error:
            raise EnvironmentFault(
                "this engine cannot be captured in a CUDA graph",
                facts={"reason": str(error).split("\n")[0]},
                hint="run it without --cuda-graph",
            ) from error

        def replay() -> None:
            with torch.cuda.stream(self._stream):
                graph.replay()

        return replay
