"""Cost classes: what an image of a client may cost at most, whatever its request asks for.

A TOML file names them:

    default = "free"          # of requests that name no class and carry no class's token

    [class.free]
    gflops = 0.25             # operations / 1e9 of the dearest image of the calibration, at its size

    [class.paid]
    gflops = 0.4
    token = "..."             # only for requests that carry it: Authorization: Bearer ...
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.errors import UsageError

# The parameter by which a request names its class.
PARAMETER = "cost_class"
Text = Annotated[str, Meta(pattern="^[!-~]{1,256}$")]


class CostClass(Struct, frozen=True, forbid_unknown_fields=True):
    gflops: Annotated[float, Meta(gt=0)] = float("inf")
    token: Text | None = None

    def carries(self, authorization: str) -> bool:
        """Whether a request with that header has the class's token."""
        return self.token is not None and hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode())


class _File(Struct, forbid_unknown_fields=True):
    default: str
    classes: dict[str, CostClass] = msgspec.field(name="class")


@dataclass(frozen=True)
class CostClasses:
    """All of one server; without a file, one that may spend anything."""

    default: str = ""
    named: dict[str, CostClass] = field(default_factory=lambda: {"": CostClass()})

    @classmethod
    def read(cls, path: Path) -> CostClasses:
        """Raises UsageError for a file that cannot be read or says something else."""
        try:
            read = msgspec.toml.decode(path.read_bytes(), type=_File)
            if read.default not in read.classes:
                raise ValueError(f"default: there is no class {read.default!r}")
            if read.classes[read.default].token is not None:
                raise ValueError(f"default: {read.default!r} has a token, which requests without one do not carry")
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            raise UsageError(
                f"cannot read the cost classes in {path}",
                facts={"reason": error},
                hint='default = "free", then [class.free] with gflops = 0.25, and others with a token',
            ) from error
        return cls(read.default, read.classes)

    def of(self, name: object, authorization: str) -> CostClass:
        """A request's class by its parameter (None where it has none), else by its token, else the default one.

        Raises:
            Refusal: an unknown class, or one whose token the request does not carry.
        """
        if name is None:
            carried = (key for key, each in self.named.items() if each.carries(authorization))
            name = next(carried, self.default) if authorization else self.default
        found = self.named.get(name) if isinstance(name, str) else None
        if found is None or not isinstance(name, str):
            raise invalid(f"there is no cost class {str(name)[:80]!r}")
        if found.token is not None and not found.carries(authorization):
            raise Refusal(Reason.FORBIDDEN, f"cost class {name} takes a token of its own")
        return found

    def knows(self, authorization: str) -> bool:
        """Whether the header is the token of any class."""
        return any([each.carries(authorization) for each in self.named.values()])
