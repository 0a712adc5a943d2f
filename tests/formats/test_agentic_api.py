"""Cassettes of agentic-api: lines or frames of a stream, parsed bodies."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.formats.agentic_api import WEBSOCKET
from replayproxy.formats.source import UnreadableSource
from replayproxy.model import Ending
from tests.formats.files import exchanges_of, imported

TURNS = r"""turns:
- filename: t1
  request:
    method: POST
    path: /v1/responses
    query_params: {a: '1 2'}
    body: {model: m, input: hello}
    headers: {authorization: 'Bearer ***', content-type: application/json}
  response:
    status_code: 200
    headers: {content-type: text/event-stream}
    sse: ["event: response.created\n", "data: {}\n", "\n", "data: [DONE]\n", "\n"]
- filename: t2
  request: {method: POST, path: /v1/responses, body: {model: m}, headers: {}}
  response:
    status_code: 200
    headers: {content-type: text/event-stream}
    sse: ["data: a\n\n", "data: b\n\n"]
    stream_error: cut
- filename: t3
  request: {method: GET, path: /v1/models}
  response: {status_code: 404, body: {error: gone}}
- filename: t4
  request: {method: WEBSOCKET, path: /v1/responses}
  response: {status_code: 101}
"""


def test_turns_are_exchanges(tmp_path: Path) -> None:
    """An event is a chunk, whether its lines are items or it is one; broken streams are broken."""
    copy, done = imported(tmp_path / "a.yaml", TURNS)
    first, second, third = exchanges_of(copy)
    assert (first.request.target, first.request.body) == ("/v1/responses?a=1+2", b'{"model":"m","input":"hello"}')
    assert first.response.chunks().data() == [b"event: response.created\ndata: {}\n\n", b"data: [DONE]\n\n"]
    assert second.response.chunks().data() == [b"data: a\n\n", b"data: b\n\n"]
    assert second.response.ending is Ending.UPSTREAM_CUT
    assert (third.request.method, third.response.status, third.response.body) == ("GET", 404, b'{"error":"gone"}')
    assert done.beats == {"none": 3}
    assert done.notes.skipped == {WEBSOCKET: 1}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("turns: 7\n", "there are no turns"),
        ("turns:\n- 7\n", "turn 1: it is not an object"),
        ("turns:\n- request: {method: POST, path: x y}\n  response: {}\n", "turn 1: "),
        ("turns:\n- request: {path: /x}\n  response: {status_code: 1}\n", "is not a status"),
    ],
)
def test_what_breaks_the_format_is_refused(text: str, what: str, tmp_path: Path) -> None:
    """With the turn."""
    with pytest.raises(UnreadableSource, match=what):
        imported(tmp_path / "a.yaml", text, format_name="agentic-api")
