"""The table of URLs: which route a request takes (deploy/serve/http/router.py)."""

from __future__ import annotations

import pytest

from adroit.deploy.serve.http.router import ROUTES, Match, find_route, path_segments
from adroit.deploy.serve.protocol.refusal import Reason, Refusal


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
def test_every_route_is_found_by_its_own_pattern(route: object) -> None:
    """No row hides another one: names in braces are replaced by a text that no row contains."""
    path = tuple(["name" if segment.startswith("{") else segment for segment in route.segments])
    match = find_route(route.method, path)
    assert isinstance(match, Match)
    assert match.route is route
    names = [segment[1:-1] for segment in route.segments if segment.startswith("{")]
    assert match.parameters == dict.fromkeys(names, "name")


def test_head_is_a_get() -> None:
    match = find_route("HEAD", path_segments("/v2/health/live"))
    assert isinstance(match, Match)
    assert match.route.method == "GET"


def test_empty_segments_do_not_count() -> None:
    assert path_segments("//v2//models/a/") == ("v2", "models", "a")


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", "/", Reason.NOT_FOUND),
        ("GET", "/v2/models/a/b", Reason.NOT_FOUND),
        ("GET", "/v2/models/a/infer", Reason.METHOD_NOT_ALLOWED),
        ("DELETE", "/v2/models/a/predict", Reason.METHOD_NOT_ALLOWED),
        ("HEAD", "/v2/repository/index", Reason.METHOD_NOT_ALLOWED),
    ],
)
def test_other_requests_have_a_refusal(method: str, path: str, reason: Reason) -> None:
    refusal = find_route(method, path_segments(path))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is reason


def test_only_inference_waits_in_a_queue_and_only_health_is_public() -> None:
    queued = {route.segments[-1] for route in ROUTES if route.queued}
    assert queued == {"infer", "predict"}
    assert {route.pattern for route in ROUTES if route.public} == {"/v2/health/live", "/v2/health/ready"}
    assert all("{model}" in route.segments for route in ROUTES if route.queued)
