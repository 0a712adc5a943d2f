"""Tests of `simulator/routes`: which endpoint answers, and what an error looks like."""

from __future__ import annotations

import orjson
import pytest

from replayproxy.model import Request
from replayproxy.simulator.draws import Draws
from replayproxy.simulator.routes import ApiError, Call, Routes, json_response


def table() -> Routes:
    """One path with two methods."""
    routes = Routes()
    for method in ("GET", "POST"):
        routes.add(method, "/a", lambda call: json_response(call.request.method))
    return routes


def test_the_endpoint_of_method_and_path_answers() -> None:
    """And no other."""
    call = Call(Request("POST", "/a"), None, Draws(b"k", 0))
    assert table().find("POST", "/a")(call) == json_response("POST")


@pytest.mark.parametrize(
    ("method", "path", "status", "document", "allow"),
    [
        ("GET", "/b", 404, {"detail": "Not Found"}, []),
        ("DELETE", "/a", 405, {"detail": "Method Not Allowed"}, [("allow", "GET, POST")]),
    ],
)
def test_what_nothing_answers(
    method: str, path: str, status: int, document: object, allow: list[tuple[str, str]]
) -> None:
    """404 and 405, as FastAPI has them, with the methods that are allowed."""
    with pytest.raises(ApiError) as caught:
        table().find(method, path)
    response = caught.value.response()
    assert (response.status, orjson.loads(response.body)) == (status, document)
    assert [field for field in response.headers if field[0] == "allow"] == allow


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "BadRequestError"), (404, "NotFoundError"), (429, "RateLimitError"), (503, "InternalServerError")],
)
def test_the_envelope_of_an_error(status: int, kind: str) -> None:
    """OpenAI's, with the type that vLLM has for the status."""
    response = ApiError(status, "no", param="n").response()
    error = {"message": "no", "type": kind, "param": "n", "code": status}
    assert (response.status, orjson.loads(response.body)) == (status, {"error": error})


def test_a_query_is_read() -> None:
    """Fields may be repeated, and empty."""
    call = Call(Request("POST", "/a?tags=x&tags=y&z="), None, Draws(b"k", 0))
    assert (call.query("tags"), call.query("z"), call.query("q")) == (["x", "y"], [""], [])
