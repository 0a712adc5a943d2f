"""The custom dataset of `vllm bench serve`: prompts and lengths."""

from __future__ import annotations

from pathlib import Path

import orjson

from replayproxy.formats.vllm_bench import ONLY_LAST, VLLM_BENCH
from tests.formats.files import export_of
from tests.formats.workloads import conversations


def test_each_line_is_a_prompt_and_a_length(tmp_path: Path) -> None:
    """Of a conversation the last message; that the others are lost is counted."""
    content, done = export_of(conversations(tmp_path / "a.cassette"), VLLM_BENCH)
    assert [orjson.loads(line) for line in content.splitlines()] == [
        {"prompt": "What is a cassette?", "output_tokens": 3},
        {"prompt": "Another one", "output_tokens": 3},
        {"prompt": "And a player?", "output_tokens": 1},
        {"prompt": "x", "output_tokens": 4},
    ]
    assert done.notes.estimated[ONLY_LAST] == 1
