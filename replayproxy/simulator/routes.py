"""The table of endpoints: method and path to a function that answers, or says what is to be generated.

An endpoint raises `ApiError` for what a server refuses. One endpoint or dialect is one file and one line in
`simulator.Simulator`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs

import orjson

from replayproxy.model import Headers, Request, Response, Timeline
from replayproxy.simulator.draws import Draws
from replayproxy.simulator.generation import InventedAnswer
from replayproxy.simulator.sequence import EngineSequence
from replayproxy.simulator.tokens import Token

JSON: Headers = (("content-type", "application/json"),)
EVENT_STREAM: Headers = (("content-type", "text/event-stream; charset=utf-8"),)

TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}
"""The `type` of an error by its status; all others are `InternalServerError`."""


class ApiError(Exception):
    """An answer that is an error, in the envelope of OpenAI, or as `document` says."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        type: str | None = None,
        document: Any = None,
        headers: Headers = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type or TYPES.get(status, "InternalServerError")
        self.param = param
        self.document = document
        self.headers = headers

    def response(self) -> Response:
        """The answer."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.status}
        return json_response({"error": error} if self.document is None else self.document, self.status, self.headers)


def json_response(document: Any, status: int = 200, headers: Headers = ()) -> Response:
    """A JSON answer, at once."""
    return whole_response(orjson.dumps(document), status, (*JSON, *headers))


def whole_response(body: bytes, status: int = 200, headers: Headers = ()) -> Response:
    """An answer in one piece, at once."""
    fields = (("content-length", str(len(body))), *headers)
    return Response(status, fields, body, (len(body),) if body else (), Timeline(0, (0,) if body else (), 0))


@dataclass(frozen=True, slots=True)
class Call:
    """A request with its parsed body (None: there is none, or it is not JSON)."""

    request: Request
    body: Any
    draws: Draws

    def query(self, name: str) -> list[str]:
        """The values of a field of the query."""
        return parse_qs(self.request.query, keep_blank_values=True).get(name, [])


class AnswerWriter(Protocol):
    """Puts tokens into the frames of one dialect. Made for one request."""

    def begin(self) -> bytes:
        """What a stream has before anything is generated."""
        ...

    def first(self) -> bytes:
        """What a stream has before the first token of any choice."""
        ...

    def token(self, sequence: EngineSequence, step: tuple[int, Token | None]) -> bytes:
        """The frames of one step of one choice, in a stream. Empty: nothing is sent for it."""
        ...

    def end(self) -> bytes:
        """What a stream has after the last token."""
        ...

    def whole(self) -> bytes:
        """The body of an answer that is not streamed."""
        ...


@dataclass(frozen=True, slots=True)
class Generation:
    """What an endpoint wants generated: one sequence and one invented answer for each choice."""

    sequences: Sequence[EngineSequence]
    answers: Sequence[InventedAnswer]
    writer: AnswerWriter
    streams: bool
    headers: Headers = field(default=())


Answer = Response | Generation
Endpoint = Callable[[Call], Answer]


class Routes:
    """Which endpoint answers."""

    def __init__(self) -> None:
        self._endpoints: dict[str, dict[str, Endpoint]] = {}

    def add(self, method: str, path: str, endpoint: Endpoint) -> None:
        """Register an endpoint."""
        self._endpoints.setdefault(path, {})[method] = endpoint

    def find(self, method: str, path: str) -> Endpoint:
        """The endpoint of a request. Raises `ApiError` 404 for a path and 405 for a method that nothing answers."""
        methods = self._endpoints.get(path)
        if methods is None:
            raise ApiError(404, "", document={"detail": "Not Found"})
        if method not in methods:
            allow = (("allow", ", ".join(sorted(methods))),)
            raise ApiError(405, "", document={"detail": "Method Not Allowed"}, headers=allow)
        return methods[method]
