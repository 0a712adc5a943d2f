"""Token ids: those that were returned, with their times; others are made and marked."""

from __future__ import annotations

from pathlib import Path

import orjson

from replayproxy.formats.token_ids import APPROXIMATE, TOKEN_IDS, VOCABULARY, approximate_ids
from tests.formats.files import export_of
from tests.formats.workloads import conversations


def test_returned_ids_have_their_times(tmp_path: Path) -> None:
    """And the reasons for the end."""
    content, done = export_of(conversations(tmp_path / "a.cassette"), TOKEN_IDS)
    lines = [orjson.loads(line) for line in content.splitlines()]
    (line,) = (line for line in lines if not line["approximate"])
    assert line["prompt_token_ids"] == list(range(1000))
    assert line["token_ids"] == [5, 6, 8, 9]
    assert line["times_s"] == [0.02, 0.02, 0.03, 0.03]
    assert (line["finish_reason"], line["stop_reason"], line["choice"]) == ("stop", 7, 0)
    assert done.notes.estimated[APPROXIMATE] == len(lines) - 1


def test_made_ids_are_as_many_as_the_server_counted(tmp_path: Path) -> None:
    """And within any vocabulary."""
    content, _ = export_of(conversations(tmp_path / "a.cassette"), TOKEN_IDS)
    line = orjson.loads(content.splitlines()[0])
    assert line["approximate"]
    assert (len(line["prompt_token_ids"]), len(line["token_ids"])) == (700, 3)
    assert max(line["prompt_token_ids"]) < VOCABULARY


def test_equal_texts_have_equal_ids() -> None:
    """In every export; so many, whatever the text."""
    assert approximate_ids("abcdef", 3) == approximate_ids("abcdef", 3)
    assert approximate_ids("abcdXX", 3)[:2] == approximate_ids("abcdef", 3)[:2]
    assert [len(approximate_ids(text, 5)) for text in ("", "a", "a" * 99)] == [5, 5, 5]
    assert approximate_ids("a", 0) == []
