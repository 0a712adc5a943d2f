"""A cassette whose digests hold may hold what is not an answer: none of it reaches a client, and `verify` says so."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from replayproxy.cassette.checking.verify import verify
from replayproxy.model import Headers, Response, Timeline
from tests import wire
from tests.apps import replaying, run, running
from tests.recordings import asked, exchange, record

SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

DAMAGED: list[tuple[str, int, Headers]] = [
    ("two transfer codings", 200, (("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip"))),
    ("a length that is too short", 200, (("Content-Length", "0"),)),
    ("a length that is too long", 200, (("Content-Length", "999"),)),
    ("connection", 200, (("Connection", "close"),)),
    ("a name with a colon", 200, (("a: b", "c"),)),
    ("a name with a space", 200, (("a b", "c"),)),
    ("a value with a line end", 200, (("a", "b\r\nContent-Length: 0"),)),
    ("beyond latin-1", 200, (("a", "\u20ac"),)),
    *((f"status {status}", status, ()) for status in (-5, 100, 101, 204, 304, 600, 99999)),
]


@pytest.mark.parametrize(("status", "fields"), [row[1:] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_what_is_not_an_answer_is_never_played(tmp_path: Path, status: int, fields: Headers) -> None:
    """The client gets one whole 500 of ours instead, its connection goes on, and `verify` names the recording."""
    size = len(SMUGGLED)
    response = Response(status, fields, SMUGGLED, (size,), Timeline(1, (2,), 3))
    request, sound = asked("one"), asked("two")
    whole = Response(200, (), b"{}", (2,), Timeline(1, (2,), 3))
    cassette = record(tmp_path / "a.cassette", [exchange(request, response), exchange(sound, whole, 1)])

    async def dialogue() -> None:
        async with running(replaying(cassette)) as proxy, wire.connect(proxy.url) as connection:
            for _ in range(2):
                refused = await connection.ask(request)
                assert (refused.status, refused.whole) == (500, True)
                assert refused.head.get("x-replayproxy-error") is not None
                message = orjson.loads(refused.body)["error"]["message"]
                assert "may be sent" in message or "is not one" in message
                assert b"evil" not in refused.body
            assert (await connection.ask(sound)).body == b"{}"

    run(dialogue())
    count, problems = verify(cassette)
    assert count == 2
    assert any("sent" in problem.what or "is not one" in problem.what for problem in problems), problems
