"""Cassettes of reel-vcr: made by its own classes; parsed bodies, events with whole ms."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from replayproxy.formats.source import UnreadableSource
from tests.formats.files import exchanges_of, imported
from tests.formats.peers import run

ENTRY = {
    "schema_version": 1,
    "id": "req_1",
    "ts": "2026-05-15T10:23:11+00:00",
    "provider": "openai",
    "request": {"method": "POST", "path": "/v1/chat/completions", "fingerprint": "x", "body": {"model": "m"}},
    "response": {
        "status": 200,
        "headers": {"content-type": "text/event-stream", "content-encoding": "gzip"},
        "stream_chunks": [
            {"data": {"a": "é"}, "t_offset_ms": 5, "event": None},
            {"data": "[DONE]", "t_offset_ms": 30, "event": "end"},
        ],
    },
    "meta": {},
}
"""As the schema of reel 0.1.0 describes it."""

WRITE = """
import asyncio, json, sys
from reel.cassette.body import parse_for_storage, parse_sse_data
from reel.cassette.schema import CassetteEntry, CassetteRequest, CassetteResponse, StreamChunk
from reel.cassette.writer import CassetteWriter, generate_id, now_iso
events = [('{"a":1}', 3, None), ("[DONE]", 9, None)]
chunks = [StreamChunk(data=parse_sse_data(d), t_offset_ms=t, event=e) for d, t, e in events]
request = CassetteRequest(method="POST", path="/v1/x", fingerprint="f", body=parse_for_storage(b'{"m":1}'))
raw = CassetteRequest(method="POST", path="/v1/y", fingerprint="g", body=parse_for_storage(bytes(range(256))))
streamed = CassetteResponse(status=200, headers={"content-type": "text/event-stream"}, stream_chunks=chunks)
whole = CassetteResponse(status=404, headers={"content-type": "application/json"}, body=parse_for_storage(b'{"e":2}'))
writer = CassetteWriter(sys.argv[1])
for one, answer in ((request, streamed), (raw, whole)):
    entry = CassetteEntry(id=generate_id(), ts=now_iso(), provider="openai", request=one, response=answer)
    asyncio.run(writer.append(entry))
print(json.dumps("done"))
"""


def test_events_have_their_times(tmp_path: Path) -> None:
    """Their JSON is written as vLLM writes it; the first line may have settings."""
    content = b'{"_meta":{"match":null}}\n' + orjson.dumps(ENTRY) + b"\n"
    copy, done = imported(tmp_path / "a.jsonl", content)
    (found,) = exchanges_of(copy)
    assert found.response.chunks().data() == ['data: {"a":"é"}\n\n'.encode(), b"event: end\ndata: [DONE]\n\n"]
    assert found.response.timeline.chunks == (5_000_000, 30_000_000)
    assert found.response.headers == (("content-type", "text/event-stream"),)
    assert found.request.body == b'{"model":"m"}'
    assert done.beats == {"events": 1}


def test_what_the_real_reel_writes_is_read(tmp_path: Path) -> None:
    """By its own writer: streams, whole answers, bodies that are not text."""
    path = tmp_path / "a.jsonl"
    run("reel", WRITE, path)
    copy, done = imported(path)
    first, second = exchanges_of(copy)
    assert first.response.body == b'data: {"a":1}\n\ndata: [DONE]\n\n'
    assert second.request.body == bytes(range(256))
    assert (second.response.status, second.response.body) == (404, b'{"e":2}')
    assert done.beats == {"events": 1, "none": 1}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"ts": "soon"}, "line 1: Invalid isoformat"),
        ({"request": None}, "'request' is not an object"),
        ({"response": {"status": 200, "stream_chunks": [7]}}, "an event is not an object"),
        ({"response": {"status": 200, "stream_chunks": [{"t_offset_ms": -1}]}}, "is not a number of at least 0"),
    ],
)
def test_what_breaks_the_format_is_refused(changes: dict[str, object], what: str, tmp_path: Path) -> None:
    """With the line."""
    with pytest.raises(UnreadableSource, match=what):
        imported(tmp_path / "a.jsonl", orjson.dumps(ENTRY | changes), format_name="reel-vcr")
