"""Batch files: what a batch can send, with the folded answers; and back."""

from __future__ import annotations

from pathlib import Path

import orjson

from replayproxy.formats.openai_batch import FOLDED, NO_ANSWER, NOT_JSON, OPENAI_BATCH
from tests.formats.files import exchanges_of, export_of, imported
from tests.formats.workloads import conversations


def test_a_line_is_what_a_batch_sends(tmp_path: Path) -> None:
    """Without `stream`; the answer is folded into one object."""
    content, done = export_of(conversations(tmp_path / "a.cassette"), OPENAI_BATCH)
    lines = [orjson.loads(line) for line in content.splitlines()]
    assert all({"custom_id", "method", "url", "body"} <= line.keys() for line in lines)
    assert all("stream" not in line["body"] for line in lines)
    assert len({line["custom_id"] for line in lines}) == len(lines)
    (choice,) = lines[0]["response"]["body"]["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hi there!", "stop")
    assert (done.notes.skipped[NOT_JSON], done.notes.estimated[FOLDED]) == (1, 4)


def test_answers_of_a_batch_are_recordings_without_times(tmp_path: Path) -> None:
    """Requests without an answer are counted."""
    content, _ = export_of(conversations(tmp_path / "a.cassette"), OPENAI_BATCH)
    alone = orjson.dumps({"custom_id": "x", "method": "POST", "url": "/v1/x", "body": {"a": 1}})
    copy, done = imported(tmp_path / "a.jsonl", content + alone + b"\n")
    assert done.beats == {"none": 4}
    assert done.notes.skipped == {NO_ANSWER: 2}  # one stream had no event of its dialect
    first = exchanges_of(copy)[0]
    assert first.request.target == "/v1/chat/completions"
    assert orjson.loads(first.response.body)["choices"][0]["message"]["content"] == "Hi there!"
