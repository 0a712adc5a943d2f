"""Logs of LiteLLM: calls become exchanges; those with texts that were cut off do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from replayproxy.core.dialects.folding import folded
from replayproxy.formats.litellm import CUT, EMPTY, FAILED, LITELLM, OTHER_CALL
from replayproxy.formats.source import SourceFile
from replayproxy.formats.table import format_of
from tests.formats.files import exchanges_of, imported

ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3},
}
ROW: dict[str, Any] = {
    "id": "c",
    "call_type": "acompletion",
    "status": "success",
    "startTime": 1763457243.5,
    "endTime": 1763457244.5,
    "completionStartTime": 1763457243.75,
    "model": "m",
    "model_parameters": {"temperature": 0, "stream": True},
    "messages": [{"role": "user", "content": "hello"}],
    "response": ANSWER,
}


def test_a_call_is_an_exchange_with_three_times(tmp_path: Path) -> None:
    """A streamed one is a stream again."""
    path = tmp_path / "a.json"
    copy, done = imported(path, orjson.dumps(ROW, option=orjson.OPT_INDENT_2))
    assert format_of(SourceFile(path)) is LITELLM
    (found,) = exchanges_of(copy)
    assert orjson.loads(found.request.body) == {
        "model": "m",
        "messages": ROW["messages"],
        "temperature": 0,
        "stream": True,
    }
    assert found.recorded_at == 1763457243_500_000_000
    assert (found.response.timeline.head, found.response.timeline.end) == (250_000_000, 1_000_000_000)
    answer = folded(found.request.path, found.response)
    assert answer is not None
    assert (answer["choices"], answer["usage"]) == (ANSWER["choices"], ANSWER["usage"])
    assert done.beats == {"ends": 1}


def test_rows_of_the_database_have_json_in_texts(tmp_path: Path) -> None:
    """And times as texts."""
    row = ROW | {"messages": orjson.dumps(ROW["messages"]).decode(), "response": orjson.dumps(ANSWER).decode()}
    row |= {"startTime": "2026-11-18 09:14:03", "endTime": None, "completionStartTime": None, "model_parameters": None}
    copy, done = imported(tmp_path / "a.jsonl", orjson.dumps(row) + b"\n")
    assert orjson.loads(exchanges_of(copy)[0].response.body) == ANSWER
    assert done.beats == {"none": 1}


def test_rows_that_cannot_answer_are_counted(tmp_path: Path) -> None:
    """Texts that were cut off would answer requests that were not sent."""
    cut = [{"role": "user", "content": "abc... (litellm_truncated 2048 chars)"}]
    others: list[dict[str, Any]] = [
        {"messages": cut},
        {"call_type": "aembedding"},
        {"status": "failure"},
        {"messages": {}},
    ]
    _, done = imported(tmp_path / "a.json", orjson.dumps([ROW, *(ROW | other for other in others)]))
    assert done.notes.skipped == {CUT: 1, OTHER_CALL: 1, FAILED: 1, EMPTY: 1}
