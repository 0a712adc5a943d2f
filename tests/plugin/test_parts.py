"""What several workers have recorded becomes one cassette, as if one process had recorded it."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.core.identity.rules import MatchRules
from replayproxy.errors import SettingsError
from replayproxy.pytest_plugin.parts import merge_parts
from tests import recordings


def record(path: Path, words: str, rules: MatchRules | None = None) -> Path:
    """A part: a prompt a letter."""
    said = recordings.said([recordings.whole_answer(path.name)], headers=recordings.JSON)
    asked = [recordings.exchange(recordings.asked(word), said, number) for number, word in enumerate(words)]
    return recordings.record(path, asked, rules=rules)


def prompts(path: Path) -> str:
    """The letters on a cassette, in alphabetical order."""
    bodies = [exchange.request.body for exchange in recordings.read(path)]
    return "".join(word for word in "abcd" for body in bodies if f'"content":"{word}"'.encode() in body)


@pytest.mark.parametrize(
    ("before", "parts", "more", "after", "again"),
    [
        (None, ["ab"], False, "ab", 0),
        (None, ["ab", "cd"], False, "abcd", 0),
        (None, ["ab", "bc"], False, "abc", 1),
        (None, ["a", "aab"], False, "aab", 1),
        (None, ["aab", "a", "aaa"], False, "aaab", 3),
        ("d", ["ab", "c"], False, "abc", 0),
        ("d", ["ab"], True, "abd", 0),
        ("a", ["a", "ab"], True, "aab", 1),
    ],
)
def test_as_if_one_had_recorded_it(
    tmp_path: Path, before: str | None, parts: list[str], more: bool, after: str, again: int
) -> None:
    """The n-th of equal requests is there once, whoever recorded it; with `more`, after those that were there."""
    target = tmp_path / "whole.cassette"
    if before is not None:
        record(target, before)
    made = [record(tmp_path / f"part-{number}.cassette", words) for number, words in enumerate(parts)]
    assert merge_parts(target, made, more=more) == again
    assert prompts(target) == after


def test_parts_that_do_not_fit_leave_the_cassette_as_it_was(tmp_path: Path) -> None:
    """And are there still."""
    target = record(tmp_path / "whole.cassette", "a")
    before = target.read_bytes()
    parts = [record(tmp_path / "one.part", "b"), record(tmp_path / "two.part", "c", MatchRules("exact"))]
    with pytest.raises(SettingsError, match="only cassettes of the same match rules make one"):
        merge_parts(target, parts, more=True)
    assert target.read_bytes() == before
    assert all(part.exists() for part in parts)
