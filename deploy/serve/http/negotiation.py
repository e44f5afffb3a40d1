"""What a client prefers among the forms of an answer: the headers Accept and Accept-Encoding (RFC 9110, section 12.5).

Each is a list of ranges with weights from 0 (not acceptable) to 1 (the default). A more exact range counts before
`image/*` and `*/*`. A range whose weight cannot be read is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_QUOTED = r'"(?:[^"\\]|\\.)*(?:"|$)'
_ITEM = re.compile(rf"(?:[^,\"]|{_QUOTED})+")
_PARAMETER = re.compile(rf"(?:[^;\"]|{_QUOTED})+")
_WEIGHT = re.compile(r"0?\.\d+|0|1(?:\.0*)?|0\.")


def _weighted(header: bytes) -> Iterator[tuple[str, float]]:
    """Yields the ranges of a header in lower case, without parameters, and their weights."""
    for item in _ITEM.findall(header.decode("latin-1").lower()):
        name, *parameters = (part.strip() for part in _PARAMETER.findall(item) or [""])
        values = dict(part.partition("=")[::2] for part in parameters)
        weight = values.get("q", "1").strip()
        if name and _WEIGHT.fullmatch(weight):
            yield name, float(weight)


def media_weight(accept: bytes, kind: str) -> float:
    """Return how much a client wants an answer of media type `kind`: 0 (not at all) to 1.

    Args:
        accept: the header Accept; an empty one accepts everything.
        kind: such as "image/png"; parameters of media types are passed over.
    """
    if not accept.strip():
        return 1.0
    for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        weights = [weight for range_, weight in _weighted(accept) if range_ == name]
        if weights:
            return max(weights)
    return 0.0


def gzip_is_wanted(accept_encoding: bytes) -> bool:
    """Tell whether a client takes gzip, and does not want the plain answer more.

    Args:
        accept_encoding: the header Accept-Encoding; where it is empty the answer stays plain.
    """
    weights = dict(_weighted(accept_encoding))
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)
