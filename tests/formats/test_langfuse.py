"""Observations of Langfuse: generations become chats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.formats.langfuse import FAILED, LANGFUSE, NO_INPUT, NOT_GENERATION
from replayproxy.formats.source import SourceFile
from replayproxy.formats.table import format_of
from tests.formats.files import exchanges_of, imported

ROW: dict[str, Any] = {
    "id": "o1",
    "traceId": "t1",
    "type": "GENERATION",
    "startTime": "2026-11-18T09:14:03.000Z",
    "completionStartTime": "2026-11-18T09:14:03.200Z",
    "endTime": "2026-11-18T09:14:04.000Z",
    "model": "m",
    "modelParameters": {"temperature": 0},
    "input": [{"role": "user", "content": "hello"}],
    "output": {"role": "assistant", "content": "Hi"},
    "usageDetails": {"input": 3, "output": 1, "total": 4},
    "level": "DEFAULT",
}


def test_a_generation_is_a_chat_with_three_times(tmp_path: Path) -> None:
    """When it was sent, its first token, its end."""
    path = tmp_path / "a.json"
    copy, done = imported(path, orjson.dumps([ROW]))
    assert format_of(SourceFile(path)) is LANGFUSE
    (found,) = exchanges_of(copy)
    body = {"model": "m", "messages": ROW["input"], "temperature": 0}
    assert orjson.loads(found.request.body) == body
    assert (found.response.timeline.head, found.response.timeline.end) == (200_000_000, 1_000_000_000)
    answer = orjson.loads(found.response.body)
    assert answer["choices"][0]["message"]["content"] == "Hi"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    assert done.beats == {"ends": 1}


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ("hello", [{"role": "user", "content": "hello"}]),
        ({"messages": [{"role": "user", "content": "a"}], "tools": []}, [{"role": "user", "content": "a"}]),
        ('[{"role":"user","content":"b"}]', [{"role": "user", "content": "b"}]),
    ],
)
def test_inputs_of_every_kind_become_messages(value: object, messages: object, tmp_path: Path) -> None:
    """A text, an object, JSON in a text."""
    copy, _ = imported(tmp_path / "a.jsonl", orjson.dumps(ROW | {"input": value}) + b"\n")
    assert orjson.loads(exchanges_of(copy)[0].request.body)["messages"] == messages


def test_other_observations_are_counted(tmp_path: Path) -> None:
    """Spans, generations without input, failures."""
    others: list[dict[str, Any]] = [{"type": "SPAN"}, {"input": None}, {"level": "ERROR"}]
    _, done = imported(tmp_path / "a.json", orjson.dumps([ROW, *(ROW | other for other in others)]))
    assert done.notes.skipped == {NOT_GENERATION: 1, NO_INPUT: 1, FAILED: 1}
