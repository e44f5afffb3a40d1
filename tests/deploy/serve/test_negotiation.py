"""The headers Accept and Accept-Encoding (RFC 9110, section 12.5)."""

from __future__ import annotations

import pytest

from adroit.deploy.serve.http.negotiation import gzip_is_wanted, media_weight


@pytest.mark.parametrize(
    ("accept", "png", "json"),
    [
        ("", 1, 1),
        ("  ", 1, 1),
        ("image/png", 1, 0),
        ("application/json, image/png;q=0.1", 0.1, 1),
        ("image/*;q=0.3, */*;q=0.2", 0.3, 0.2),
        ("*/*, image/png;q=0", 0, 1),  # the more exact one counts, wherever it stands
        ("IMAGE/PNG ; Q=0.5", 0.5, 0),
        ("image/png;q=1.000, application/json;q=0.999", 1, 0.999),
        ('text/html;note="image/png, application/json;q=1";q=0.7, image/png;q=0.2', 0.2, 0),
        ("application/json;charset=utf-8;q=0.4", 0, 0.4),
        ("image/png;q=high, application/json;q=2", 0, 0),  # weights that cannot be read
        ("image/png;q=.5,,;,application/json;q=1.", 0.5, 1),
        ('image/png;note="never closed', 1, 0),
        ("image/apng", 0, 0),
        ("\xff\x00;q", 0, 0),
    ],
)
def test_media_types(accept: str, png: float, json: float) -> None:
    header = accept.encode("latin-1")
    assert (media_weight(header, "image/png"), media_weight(header, "application/json")) == (png, json)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("x-gzip", True),
        ("gzip, deflate, br", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("deflate", False),
        ("not-gzip", False),
    ],
)
def test_encodings(header: str, wanted: bool) -> None:
    assert gzip_is_wanted(header.encode()) is wanted
