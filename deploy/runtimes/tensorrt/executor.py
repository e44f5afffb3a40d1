"""Runs an engine: buffers, shapes, profiles and, if requested, a CUDA graph of every shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from adroit.deploy.deployment.builds import Shape
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.runtimes.tensorrt.profiles import Profile, choose_profile
from adroit.errors import EnvironmentFault

# A service sees few shapes: a graph, its context and its buffers are kept for so many of them.
MOST_GRAPHS = 8


class Memory(Protocol):
    """The part of a device that the executor uses (device.Device; the tests have one of NumPy arrays)."""

    @property
    def stream(self) -> int:
        """The handle of the stream."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Allocates a buffer on the device."""
        ...

    def upload(self, array: NDArray[Any], buffer: Any) -> None:
        """Queues a copy of `array` into `buffer`."""
        ...

    def download(self, buffers: dict[str, Any]) -> dict[str, NDArray[Any]]:
        """Copies the buffers to the host, and waits for them."""
        ...

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Records `work`, and returns what replays it."""
        ...


@dataclass(frozen=True)
class _Bound:
    """A context with shapes and buffers; `start` queues its work."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]
    start: Callable[[], None]


class Executor:
    """An engine on one stream; not for several threads at a time.

    Args:
        make_context: makes an IExecutionContext.
        profiles: the engine's, in its order.
        built: the command that built the engine, for hints.
        graphs: whether to capture the work of each shape in a CUDA graph, and replay it. A graph keeps
            the context that it was captured from, as NVIDIA demands.
    """

    def __init__(
        self,
        make_context: Callable[[], Any],
        device: Memory,
        outputs: Sequence[TensorSpec],
        profiles: Sequence[Profile],
        built: str,
        graphs: bool = False,
    ) -> None:
        self._make_context, self._device, self._outputs = make_context, device, outputs
        self._profiles, self._built, self._graphs = profiles, built, graphs
        self._context: Any = None
        self._profile = -1
        self._bound: dict[tuple[tuple[str, Shape], ...], _Bound] = {}

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs.

        Raises:
            UsageError: shapes that no profile holds.
            EnvironmentFault: TensorRT refuses to run, or the work cannot be captured.
            OutOfResource: device memory.
        """
        shapes = {name: tuple(array.shape) for name, array in feeds.items()}
        key = tuple(sorted(shapes.items()))
        if key not in self._bound:
            bound = self._bind(feeds, shapes)
            # One context holds one set of shapes; each graph has its own.
            kept = list(self._bound.items())[1 - MOST_GRAPHS :] if self._graphs else []
            self._bound = {**dict(kept), key: bound}
        bound = self._bound[key]
        self._upload(feeds, bound.inputs)
        bound.start()
        return self._device.download(bound.outputs)

    def _bind(self, feeds: Mapping[str, NDArray[Any]], shapes: Mapping[str, Shape]) -> _Bound:
        device = self._device
        index = choose_profile(self._profiles, shapes, self._built)
        if self._context is None or self._graphs:
            self._context, self._profile = self._make_context(), -1
        context = self._context
        if index != self._profile:
            _done(context.set_optimization_profile_async(index, device.stream), "take a profile")
            self._profile = index
        for name, shape in shapes.items():
            _done(context.set_input_shape(name, shape), f"take {name} of shape {list(shape)}")
        inputs = {name: device.empty(shapes[name], str(array.dtype)) for name, array in feeds.items()}
        outputs = {s.name: device.empty(tuple(context.get_tensor_shape(s.name)), s.dtype) for s in self._outputs}
        for name, buffer in (inputs | outputs).items():
            _done(context.set_tensor_address(name, buffer.data_ptr()), f"take a buffer for {name}")

        def start() -> None:
            _done(context.execute_async_v3(device.stream), "run")

        if not self._graphs:
            return _Bound(inputs, outputs, start)
        # The first run may allocate and compile, which a capture may not.
        self._upload(feeds, inputs)
        start()
        device.download(outputs)
        return _Bound(inputs, outputs, device.capture(start))

    def _upload(self, feeds: Mapping[str, NDArray[Any]], buffers: Mapping[str, Any]) -> None:
        for name, array in feeds.items():
            self._device.upload(array, buffers[name])


def _done(answer: bool, what: str) -> None:
    if not answer:
        raise EnvironmentFault(f"TensorRT refuses to {what}", hint="build the engine again on this machine")
