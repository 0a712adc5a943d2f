"""Payload records of Dynamo: with the times of the record of the end, wherever it stands."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.core.dialects.folding import folded
from replayproxy.formats.dynamo import INCOMPLETE
from replayproxy.formats.source import UnreadableSource
from tests.formats.files import exchanges_of, imported

SCHEMA = {"schema": "dynamo.request.trace.v1", "event_time_unix_ms": 1777312800000, "event_source": "dynamo"}
ANSWER = {
    "id": "chatcmpl-x",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
}


def payload(name: str, **more: Any) -> dict[str, Any]:
    """A payload record, as the reference of Dynamo 1.6 shows it."""
    value = {"request_id": name, "endpoint": "openai.chat_completion", "requested_streaming": True, "model": "m"}
    value |= {"request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}, "response": ANSWER}
    return SCHEMA | {"event_type": "request_payload", "payload": value | more}


END = SCHEMA | {
    "event_type": "request_end",
    "request": {"request_id": "a", "request_received_ms": 1777312799000, "ttft_ms": 100.0, "total_time_ms": 1000},
}


def lines(*records: dict[str, Any]) -> bytes:
    """A trace of these records."""
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def test_payloads_are_exchanges(tmp_path: Path) -> None:
    """Bare or wrapped, in gzip too; a streamed answer is a stream again."""
    content = gzip.compress(
        lines(payload("a"), {"timestamp": 1, "event": payload("b", requested_streaming=False)}, END)
    )
    copy, done = imported(tmp_path / "a.jsonl.gz", content)
    first, second = exchanges_of(copy)
    assert first.recorded_at == 1777312799000 * 1_000_000
    assert (first.response.timeline.head, first.response.timeline.end) == (100_000_000, 1_000_000_000)
    assert folded(first.request.path, first.response) == ANSWER
    assert orjson.loads(first.request.body)["stream"] is True
    assert orjson.loads(second.response.body) == ANSWER
    assert done.beats == {"ends": 1, "none": 1}


def test_incomplete_payloads_are_counted(tmp_path: Path) -> None:
    """Dynamo leaves a marker where a payload was too large."""
    _, done = imported(tmp_path / "a.jsonl", lines(payload("a"), payload("b", response=None)))
    assert (done.exchanges, done.notes.skipped) == (1, {INCOMPLETE: 1})


def test_a_trace_without_payloads_makes_no_cassette(tmp_path: Path) -> None:
    """It has no texts."""
    with pytest.raises(UnreadableSource, match="there is no exchange"):
        imported(tmp_path / "a.jsonl", lines(END))
