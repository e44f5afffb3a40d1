"""What every runtime offers: specifications, run, close."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from adroit.deploy.deployment.tensors import Tensors, TensorSpec
from adroit.errors import UsageError


class Runtime(ABC):
    """A loaded deployment. Use it as a context manager, or call `close`."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What ran: versions, threads, provider, instruction set; JSON values."""

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Runs the deployment on inputs by name, and returns all outputs by name.

        Raises:
            UsageError: a missing, unknown or misshapen input.
        """
        if set(feeds) != {s.name for s in self.inputs}:
            raise UsageError(f"inputs are {', '.join(s.name for s in self.inputs)}, got {', '.join(feeds) or 'none'}")
        for spec in self.inputs:
            spec.check(feeds[spec.name])
        return self._run(feeds)

    @abstractmethod
    def _run(self, feeds: Tensors) -> dict[str, NDArray[Any]]: ...

    def close(self) -> None:  # noqa: B027  (nothing to do is a right answer)
        """Frees what the runtime holds; it cannot run afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
