"""Running an engine: the calls of TensorRT and their order; on a device and a context of the tests' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adroit.deploy.deployment.builds import Range
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.runtimes.tensorrt.executor import MOST_GRAPHS, Executor
from adroit.deploy.runtimes.tensorrt.profiles import Profile
from adroit.errors import EnvironmentFault, UsageError


class Buffer:
    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def data_ptr(self) -> int:
        return id(self)


class HostMemory:
    """A device that is NumPy; every buffer can be found by its address."""

    stream = 7

    def __init__(self) -> None:
        self.buffers: dict[int, Buffer] = {}
        self.captured = self.replayed = 0

    def empty(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        buffer = Buffer(np.zeros(shape, dtype))
        self.buffers[buffer.data_ptr()] = buffer
        return buffer

    def upload(self, array: NDArray[Any], buffer: Buffer) -> None:
        assert array.shape == buffer.array.shape
        buffer.array[...] = array

    def download(self, buffers: dict[str, Buffer]) -> dict[str, NDArray[Any]]:
        return {name: buffer.array.copy() for name, buffer in buffers.items()}

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay


class Doubling:
    """An execution context whose engine doubles its input; it holds TensorRT's rules."""

    def __init__(self, memory: HostMemory, log: list[str]) -> None:
        self.memory, self.log = memory, log
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.profile = -1

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.log.append(f"profile {index}")
        self.profile, self.shape = index, ()
        return stream == self.memory.stream

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.log.append(f"shape {shape}")
        self.shape = tuple(shape)
        return self.profile >= 0

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return address in self.memory.buffers

    def execute_async_v3(self, stream: int) -> bool:
        buffers = {name: self.memory.buffers[address].array for name, address in self.addresses.items()}
        if set(buffers) != {"x", "y"} or buffers["x"].shape != self.shape:
            return False
        buffers["y"][...] = 2 * buffers["x"]
        self.log.append("run")
        return True


PROFILES = [
    Profile("small", {"x": Range((1, 2), (1, 2), (4, 2))}),
    Profile("large", {"x": Range((5, 2), (8, 2), (64, 2))}),
]


class Scene:
    def __init__(self, graphs: bool = False) -> None:
        self.memory, self.log, self.contexts = HostMemory(), [], 0  # type: tuple[HostMemory, list[str], int]
        self.executor = Executor(
            self.context, self.memory, [TensorSpec("y", "float32", ("n", 2))], PROFILES, "adroit build E", graphs
        )

    def context(self) -> Doubling:
        self.contexts += 1
        return Doubling(self.memory, self.log)

    def run(self, batch: int, value: float) -> None:
        x = np.full((batch, 2), value, np.float32)
        np.testing.assert_array_equal(self.executor.run({"x": x})["y"], 2 * x)


def test_a_shape_is_bound_once_and_a_profile_changed_only_where_it_must_be() -> None:
    scene = Scene()
    for batch, value in ((2, 1.0), (2, 2.0), (3, 3.0), (9, 4.0), (2, 5.0)):
        scene.run(batch, value)
    assert scene.log == [
        "profile 0", "shape (2, 2)", "run", "run",
        "shape (3, 2)", "run",
        "profile 1", "shape (9, 2)", "run",
        "profile 0", "shape (2, 2)", "run",
    ]  # fmt: skip
    assert scene.contexts == 1


def test_each_shape_is_captured_once_in_a_context_of_its_own_and_replayed() -> None:
    scene = Scene(graphs=True)
    for batch, value in ((2, 1.0), (9, 2.0), (2, 3.0), (9, 4.0), (2, 5.0)):
        scene.run(batch, value)
    assert (scene.contexts, scene.memory.captured, scene.memory.replayed) == (2, 2, 5)


def test_only_so_many_graphs_are_kept() -> None:
    scene = Scene(graphs=True)
    for batch in range(5, 5 + MOST_GRAPHS + 1):
        scene.run(batch, 1.0)
    scene.run(5 + MOST_GRAPHS, 1.0)
    assert scene.memory.captured == MOST_GRAPHS + 1
    scene.run(5, 1.0)  # the oldest was given up
    assert scene.memory.captured == MOST_GRAPHS + 2


def test_a_shape_outside_all_profiles_is_refused_and_the_next_runs() -> None:
    scene = Scene()
    with pytest.raises(UsageError, match="no profile for these shapes"):
        scene.run(65, 1.0)
    scene.run(1, 1.0)


def test_a_refusal_of_tensorrt_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    monkeypatch.setattr(Doubling, "execute_async_v3", lambda self, stream: False)
    with pytest.raises(EnvironmentFault, match="refuses to run"):
        scene.run(1, 1.0)
