"""The completions dialect."""

from __future__ import annotations

from replayproxy.core.dialects.completions import COMPLETIONS


def test_text() -> None:
    """The text of each choice, in order; other types count as absent."""
    assert COMPLETIONS.text({"choices": [{"text": "a"}, {"text": None}, 1, {"text": "b"}]}) == ["a", "b"]
    assert COMPLETIONS.text({"choices": {"text": "a"}}) == []
