"""Answers in the place of the server."""

from __future__ import annotations

import orjson
import pytest

from replayproxy.core.headers import get
from replayproxy.core.policy import PROBES
from replayproxy.core.server_facts import ServerFacts
from replayproxy.model import Request
from replayproxy.proxy.server_answers import server_answer

FACTS = ServerFacts({"version": "0.32.0"}, ({"id": "tiny"}, {"id": "org/big"}), 200)


@pytest.mark.parametrize("path", sorted(PROBES))
def test_probes_are_answered_for_the_server(path: str) -> None:
    """200, in the shape of vLLM, with a length."""
    response = server_answer(Request("GET", f"{path}?verbose"), ServerFacts())
    assert response.status == 200
    assert get(response.headers, "content-length") == str(len(response.body))
    shapes = {"/load": {"server_load": 0}, "/version": {"version": "replayproxy"}}
    if path in shapes:
        assert orjson.loads(response.body) == shapes[path]
        assert get(response.headers, "content-type") == "application/json"
    else:
        assert response.body == b""


def test_the_version_is_the_recorded_servers() -> None:
    """What it answered, with whatever else stood there."""
    assert server_answer(Request("GET", "/version"), FACTS).body == b'{"version":"0.32.0"}'


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/health", 405),
        ("HEAD", "/version", 405),
        ("HEAD", "/v1/models", 405),
        ("POST", "/health", 405),
        ("DELETE", "/load", 405),
        ("POST", "/ping", 200),
    ],
)
def test_other_methods_get_what_vllm_gives(method: str, path: str, status: int) -> None:
    """405 with Allow; the answer to HEAD has no body, whatever its fields say (RFC 9110 9.3.2)."""
    response = server_answer(Request(method, path), ServerFacts())
    assert response.status == status
    if status == 405:
        assert get(response.headers, "allow") == "GET"
    assert (response.body == b"") is (method == "HEAD" or status == 200)


def test_head_gets_what_it_got_when_it_was_recorded() -> None:
    """A server that takes HEAD is not FastAPI."""
    assert server_answer(Request("HEAD", "/health"), FACTS).status == 200
    assert server_answer(Request("POST", "/health"), FACTS).status == 405


def test_models_are_listed_and_looked_up() -> None:
    """A name may have slashes and percent codes; one that is not there is OpenAI's 404, which nobody retries."""
    listed = orjson.loads(server_answer(Request("GET", "/v1/models"), FACTS).body)
    assert listed == {"object": "list", "data": [{"id": "tiny"}, {"id": "org/big"}]}
    assert orjson.loads(server_answer(Request("GET", "/v1/models/org%2Fbig"), FACTS).body) == {"id": "org/big"}
    missing = server_answer(Request("GET", "/v1/models/other"), FACTS)
    assert missing.status == 404
    assert orjson.loads(missing.body)["error"]["code"] == "model_not_found"
