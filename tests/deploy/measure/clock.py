"""A clock that only its own calls move, so that tests of timing do not depend on the machine's speed."""

from __future__ import annotations

from collections.abc import Callable


class FakeClock:
    """A clock in seconds. `call` takes a given time, twice as much from the moment `slow_from` on."""

    def __init__(self, slow_from: float = float("inf")) -> None:
        self.now, self.slow_from = 0.0, slow_from

    def __call__(self) -> float:
        return self.now

    def call(self, seconds: float) -> None:
        """Lets `seconds` pass."""
        self.now += seconds * (2.0 if self.now >= self.slow_from else 1.0)

    def calls(self, *seconds: float) -> list[Callable[[], None]]:
        """One call for each of `seconds`, which takes so long."""
        return [lambda length=length: self.call(length) for length in seconds]  # type: ignore[misc]
