"""Latency traces of vllm-vcr: out of any recorded server, and in for statistics."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from replayproxy.formats.source import UnreadableSource
from replayproxy.formats.vllm_vcr import NOT_STREAMED, VLLM_VCR
from tests.formats.files import exchanges_of, export_of, imported
from tests.formats.workloads import conversations


def test_a_recorded_server_gives_a_trace(tmp_path: Path) -> None:
    """Times of events with content, lengths, arrivals, ids where these were returned."""
    content, done = export_of(conversations(tmp_path / "a.cassette"), VLLM_VCR)
    meta, *lines = [orjson.loads(line) for line in content.splitlines()]
    assert set(meta) == {"meta"}
    assert lines[0] == {
        "prompt_tokens": 700,
        "cached_tokens": 0,
        "output_tokens": 3,
        "ttft_ms": 100.0,
        "itl_ms": [20.0, 20.0],
        "arrival_ms": 0.0,
        "finish_reason": "stop",
    }
    assert lines[-1]["output_token_ids"] == [5, 6, 8, 9]
    assert done.notes.skipped[NOT_STREAMED] == 1


def test_a_trace_is_exchanges_with_its_times(tmp_path: Path) -> None:
    """Their prompts name the lines; they have the counts and the ids."""
    row = {
        "prompt_tokens": 5,
        "output_tokens": 4,
        "ttft_ms": 10,
        "itl_ms": [2, 3],
        "itl_tokens": [1, 2],
        "arrival_ms": 7,
    }
    row |= {"output_token_ids": [1, 2, 3, 4], "finish_reason": "length"}
    content = b'{"meta":{"model":"m"}}\n' + orjson.dumps(row) + b"\n"
    copy, done = imported(tmp_path / "a.jsonl", content)
    (found,) = exchanges_of(copy)
    assert orjson.loads(found.request.body)["prompt"] == "vllm-vcr line 2"
    assert found.response.timeline.chunks == (10_000_000, 12_000_000, 15_000_000, 15_000_000)
    assert [b'"token_ids":[1]' in data or b'"token_ids":[3,4]' in data for data in found.response.chunks().data()][
        :3
    ] == [
        True,
        False,
        True,
    ]
    assert done.beats == {"events": 1}


@pytest.mark.parametrize(
    "row", [{"ttft_ms": -1, "output_tokens": 1}, {"ttft_ms": 1, "output_tokens": 1e9}, {"ttft_ms": 1, "itl_ms": 7}]
)
def test_what_breaks_the_format_is_refused(row: dict[str, object], tmp_path: Path) -> None:
    """With the line."""
    with pytest.raises(UnreadableSource, match="line 1: "):
        imported(tmp_path / "a.jsonl", orjson.dumps(row), format_name="vllm-vcr")
