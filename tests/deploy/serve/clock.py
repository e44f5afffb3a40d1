"""An event loop whose clock jumps to the next timer: tests of time limits that take no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class JumpingSelector(selectors.DefaultSelector):
    """A selector that never waits: it adds up the seconds that it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready now; raise RuntimeError where a loop would wait forever."""
        if timeout is None:
            raise RuntimeError("the event loop waits, and neither a timer nor a task is left to wake it")
        self.now += max(timeout, 0.0)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop on simulated time, for code that waits for timers and events, not for threads or sockets."""

    def __init__(self) -> None:
        self._clock = JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the simulated seconds since the loop began."""
        return self._clock.now


def run_simulated(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on simulated time, however slow the machine is."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(coroutine)
