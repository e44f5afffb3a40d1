"""The closed set of errors that a user can meet, each with its exit code.

Every message says what is wrong and where; `facts` are the lines of detail under it, and `hint` is
what to do next. The command line prints them without a traceback (deploy/cli/main.py).
"""

from __future__ import annotations

from collections.abc import Mapping


class AdroitWarning(UserWarning):
    """What was left out, kept or chosen by a rule: nothing is wrong, but the user shall know. Shown as `note: ...`."""


class AdroitError(Exception):
    """Base of all errors that are not bugs of ours."""

    exit_code = 1

    def __init__(self, message: str, *, facts: Mapping[str, object] | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.facts = dict(facts or {})
        self.hint = hint

    def __str__(self) -> str:
        width = max((len(name) for name in self.facts), default=0)
        lines = [self.message, *(f"  {name:<{width}}  {value}" for name, value in self.facts.items())]
        if self.hint:
            lines += ["", f"hint: {self.hint}"]
        return "\n".join(lines)


class UsageError(AdroitError):
    """A command, argument, file or image that cannot be used as given."""

    exit_code = 2


class ParityError(AdroitError):
    """A deployment whose numbers leave the tolerance of its arithmetic."""

    exit_code = 3


class RouteMismatch(AdroitError):
    """A routed deployment whose gates open other paths than the network's."""

    exit_code = 4


class EnvironmentFault(AdroitError):
    """Something that must be installed or built on this machine is not there."""

    exit_code = 5


class UnsupportedModel(AdroitError):
    """A checkpoint or model that is read but is not one that adroit can take."""

    exit_code = 6


class OutOfResource(AdroitError):
    """Memory, disk or another resource ran out."""

    exit_code = 7
