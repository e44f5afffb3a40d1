"""What adroit extends of uvicorn, whose versions have no upper bound: a version without it is one clear error."""

from __future__ import annotations

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from adroit.deploy.serve.http.connection import LimitedConnection, check_uvicorn
from adroit.errors import EnvironmentFault


def test_the_installed_uvicorn_has_what_is_extended() -> None:
    check_uvicorn()


def test_every_method_that_calls_uvicorns_own_is_checked() -> None:
    overriding = {name for name, value in vars(LimitedConnection).items() if callable(value) and name[0] != "_"}
    for name in sorted(overriding & set(dir(HttpToolsProtocol))):
        lacking = type(
            "Lacking",
            (),
            {k: v for k, v in vars(HttpToolsProtocol).items() if k not in (name, "__dict__", "__weakref__")},
        )
        with pytest.raises(EnvironmentFault, match=rf"it lacks +.*{name}"):
            check_uvicorn(lacking)


def test_an_attribute_that_is_not_assigned_is_missed() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.body = b""
            self.disconnected = self.more_body = self.response_complete = False

    with pytest.raises(EnvironmentFault, match=r"it lacks +message_event") as caught:
        check_uvicorn(cycle=Cycle)
    assert caught.value.hint is not None and "pip install 'uvicorn<=" in caught.value.hint
    check_uvicorn(cycle=RequestResponseCycle)
