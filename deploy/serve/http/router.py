"""The table of URLs that the HTTP server knows, and the handler of each.

Both the router and the early refusal (deploy/serve/http/early.py) read this one table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from adroit.deploy.serve.http import handlers, inference_handlers
from adroit.deploy.serve.http.exchange import Request, Response
from adroit.deploy.serve.http.page_files import page_files
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from adroit.deploy.serve.service import Service

Handler = Callable[[Service, Request], Awaitable[Response]]


def path_segments(path: str) -> tuple[str, ...]:
    """Split a path at its slashes; empty segments do not count."""
    return tuple([segment for segment in path.split("/") if segment])


@dataclass(frozen=True)
class Route:
    """One row of the table.

    Attributes:
        method: GET (which stands for HEAD too) or POST.
        pattern: the path; a segment in braces matches any text, which becomes `Request.parameters[NAME]`.
        handler: answers the request.
        public: the handler answers clients without the bearer token too.
        queued: the request waits in the queue of `{model}`, so a full queue refuses it at its headers.
    """

    method: str
    pattern: str
    handler: Handler
    public: bool = False
    queued: bool = False

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The pattern, split at its slashes."""
        return path_segments(self.pattern)

    def match(self, path: tuple[str, ...]) -> dict[str, str] | None:
        """Compare `path`, of as many segments as the pattern; return the values of its names, None if it differs."""
        parameters = {}
        for expected, segment in zip(self.segments, path, strict=True):
            if expected.startswith("{"):
                parameters[expected[1:-1]] = segment
            elif expected != segment:
                return None
        return parameters

    def takes(self, method: str) -> bool:
        """Tell whether the route takes this method; HEAD is a GET whose body stays here."""
        return method == self.method or (self.method, method) == ("GET", "HEAD")


@dataclass(frozen=True)
class Match:
    """A route that a request takes, and the values of the names in its pattern."""

    route: Route
    parameters: Mapping[str, str]


def _of_model(method: str, action: str, handler: Handler, queued: bool = False) -> tuple[Route, Route]:
    """Return the routes of an action on a model: of its only version, and of a version by its number."""
    return (
        Route(method, f"/v2/models/{{model}}{action}", handler, queued=queued),
        Route(method, f"/v2/models/{{model}}/versions/{{version}}{action}", handler, queued=queued),
    )


# The first row that matches is taken: "stats" is not the name of a model.
ROUTES = (
    Route("GET", "/v2/health/live", handlers.server_live, public=True),
    Route("GET", "/v2/health/ready", handlers.server_ready, public=True),
    Route("GET", "/v2", handlers.server_metadata),
    Route("GET", "/v2/models/stats", handlers.all_statistics),
    *_of_model("GET", "", handlers.model_metadata),
    *_of_model("GET", "/ready", handlers.model_ready),
    *_of_model("GET", "/config", handlers.model_config),
    *_of_model("GET", "/stats", handlers.model_statistics),
    *_of_model("POST", "/infer", inference_handlers.infer, queued=True),
    *_of_model("POST", "/predict", inference_handlers.predict, queued=True),
    *_of_model("GET", "/predict", handlers.describe_model),
    Route("POST", "/v2/repository/index", handlers.repository_index),
    Route("POST", "/v2/repository/models/{model}/load", handlers.load_model),
    Route("POST", "/v2/repository/models/{model}/unload", handlers.unload_model),
    Route("GET", "/v2/systemsharedmemory/status", handlers.shared_memory_status),
    Route("GET", "/v2/systemsharedmemory/region/{region}/status", handlers.shared_memory_status),
    Route("POST", "/v2/systemsharedmemory/region/{region}/register", handlers.register_region),
    Route("POST", "/v2/systemsharedmemory/unregister", handlers.unregister_region),
    Route("POST", "/v2/systemsharedmemory/region/{region}/unregister", handlers.unregister_region),
)
_BY_LENGTH = {
    length: [route for route in ROUTES if len(route.segments) == length]
    for length in {len(route.segments) for route in ROUTES}
}


NOTHING_HERE = (
    "nothing is at this URL. POST /v2/repository/index lists the models; /v2/models/NAME describes one,"
    " POST /v2/models/NAME/infer takes tensors, POST /v2/models/NAME/predict an image file;"
    " /v2 and /v2/health/ready are the server's, --page serves a web page at /"
)


def find_route(method: str, path: tuple[str, ...]) -> Match | Refusal:
    """Return the first route of the table that matches, or the refusal of a URL or a method that none takes."""
    methods = []
    for route in _BY_LENGTH.get(len(path), ()):
        parameters = route.match(path)
        if parameters is not None:
            if route.takes(method):
                return Match(route, parameters)
            methods.append(route.method)
    if methods:
        return Refusal(Reason.METHOD_NOT_ALLOWED, f"this URL takes {' and '.join(methods)}, not {method[:20]}")
    return Refusal(Reason.NOT_FOUND, NOTHING_HERE)


class Router:
    """Hands each request of one server to its handler."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._page = page_files() if service.options.page else {}

    async def answer(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            Refusal: no such URL, a method that it does not take, no token, or what the handler refuses.
            ClientGone: the connection ended first.
        """
        if page := self._page.get(request.path):
            return handlers.page_file(request, page)
        match = find_route(request.method, request.path)
        public = isinstance(match, Match) and match.route.public
        if not public and not self._service.allows(request.authorization):
            raise Refusal(Reason.UNAUTHENTICATED, "this server wants a bearer token")
        if isinstance(match, Refusal):
            raise match
        request.parameters = match.parameters
        return await match.route.handler(self._service, request)
