"""Fixtures of aimock: a request of what they match, an answer of what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.core.dialects.folding import folded
from replayproxy.formats.aimock import NO_ANSWER, NO_TEXT
from replayproxy.formats.source import UnreadableSource
from tests.formats.files import exchanges_of, imported

RECORDED: dict[str, Any] = {
    "match": {"userMessage": "hello", "model": "m", "systemMessage": ["be", "kind"], "endpoint": "chat"},
    "response": {"content": "Hi there", "id": "chatcmpl-1", "usage": {"prompt_tokens": 3}, "finishReason": "length"},
    "recordedTimings": {"ttftMs": 100, "interChunkDelaysMs": [20, 30, 40], "totalDurationMs": 200},
}
"""As `llmock --record` writes it (aimock 1.43)."""


def fixtures(*found: dict[str, Any]) -> bytes:
    """A file of fixtures."""
    return orjson.dumps({"fixtures": found})


def test_a_recorded_fixture_is_a_stream_at_its_times(tmp_path: Path) -> None:
    """As many equal pieces as there were gaps and one; the text is the same."""
    copy, done = imported(tmp_path / "a.json", fixtures(RECORDED))
    (found,) = exchanges_of(copy)
    assert orjson.loads(found.request.body) == {
        "model": "m",
        "messages": [{"role": "system", "content": "be\nkind"}, {"role": "user", "content": "hello"}],
        "stream": True,
    }
    times = [at // 1_000_000 for at in found.response.timeline.chunks]
    assert times[:4] == [100, 120, 150, 190]
    assert times[-1] == 200
    answer = folded(found.request.path, found.response)
    assert answer is not None
    assert (answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]) == ("Hi there", "length")
    assert done.beats == {"events": 1}


def test_a_written_fixture_is_one_object_without_times(tmp_path: Path) -> None:
    """With its tool calls."""
    fixture = {"match": {"userMessage": "x"}, "response": {"toolCalls": [{"name": "f", "arguments": "{}"}]}}
    copy, done = imported(tmp_path / "a.json", fixtures(fixture))
    (choice,) = orjson.loads(exchanges_of(copy)[0].response.body)["choices"]
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert choice["finish_reason"] == "tool_calls"
    assert done.beats == {"none": 1}


def test_what_has_no_request_or_answer_is_counted(tmp_path: Path) -> None:
    """Patterns, embeddings."""
    pattern = {"match": {"toolName": "f"}, "response": {"content": "x"}}
    embedding = {"match": {"userMessage": "x"}, "response": {"embedding": [1]}}
    _, done = imported(tmp_path / "a.json", fixtures(RECORDED, pattern, embedding))
    assert (done.exchanges, done.notes.skipped) == (1, {NO_TEXT: 1, NO_ANSWER: 1})


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"fixtures":7}', "there are no fixtures"),
        (fixtures({"match": 7}), "fixture 1: 'match' is not an object"),
        (fixtures(RECORDED | {"recordedTimings": {"ttftMs": -1}}), "fixture 1: 'ttftMs' is not a number"),
    ],
)
def test_what_breaks_the_format_is_refused(content: bytes, what: str, tmp_path: Path) -> None:
    """With the fixture."""
    with pytest.raises(UnreadableSource, match=what):
        imported(tmp_path / "a.json", content, format_name="aimock")
