"""Cost classes: the limit of what an image of a client may cost, whatever its request says.

A TOML file names them:

    default = "free"          # for requests that name no class and carry no class's token

    [class.free]
    gflops = 0.25             # operations / 1e9 of the most expensive image of the calibration, at its size

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

from adroit import files
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.errors import UsageError

# The parameter by which a request names its class.
PARAMETER = "cost_class"
Text = Annotated[str, Meta(pattern="^[!-~]{1,256}$")]


class CostClass(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit in operations / 1e9 an image, and the token that requests of the class carry, if any."""

    gflops: Annotated[float, Meta(gt=0)] = float("inf")
    token: Text | None = None

    def carries(self, authorization: str) -> bool:
        """Tell whether a request with that header has the class's token."""
        return self.token is not None and hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode())


class _File(Struct, forbid_unknown_fields=True):
    default: str
    classes: dict[str, CostClass] = msgspec.field(name="class")


@dataclass(frozen=True)
class CostClasses:
    """All cost classes of one server; without a file, one without a limit."""

    default: str = ""
    named: dict[str, CostClass] = field(default_factory=lambda: {"": CostClass()})

    @classmethod
    def read(cls, path: Path) -> CostClasses:
        """Read the classes from a TOML file. Raises UsageError for a file that does not hold such classes."""
        try:
            content = msgspec.toml.decode(files.read_text(path, "the file of cost classes"), type=_File)
            if content.default not in content.classes:
                raise ValueError(f"default: there is no class {content.default!r}")
            if content.classes[content.default].token is not None:
                raise ValueError(
                    f"default: {content.default!r} has a token, which requests without a class do not carry"
                )
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise UsageError(
                f"cannot read the cost classes in {path}",
                facts={"reason": error},
                hint='default = "free", then [class.free] with gflops = 0.25, and others with a token',
            ) from error
        return cls(content.default, content.classes)

    def find(self, name: object, authorization: str) -> CostClass:
        """Return a request's class: by its parameter `name` (None without one), else by its token, else the default.

        Raises:
            Refusal: an unknown class, or one whose token the request does not carry.
        """
        if name is None:
            carried = (key for key, each in self.named.items() if each.carries(authorization))
            name = next(carried, self.default) if authorization else self.default
        cost_class = self.named.get(name) if isinstance(name, str) else None
        if cost_class is None or not isinstance(name, str):
            raise invalid(f"there is no cost class {str(name)[:80]!r}")
        if cost_class.token is not None and not cost_class.carries(authorization):
            raise Refusal(Reason.FORBIDDEN, f"cost class {name} needs its own token")
        return cost_class

    def knows(self, authorization: str) -> bool:
        """Tell whether the header has the token of any class."""
        return any([each.carries(authorization) for each in self.named.values()])
