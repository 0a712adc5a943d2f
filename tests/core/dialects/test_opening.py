"""The first words of an answer, and whether there was content yet, wherever its chunks are cut."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.dialects.opening import LONGEST, MOST_BYTES, Opening, first_words


def event(content: str) -> bytes:
    """One event of a chat."""
    return b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": {"content": content}}]}) + b"\n\n"


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WHOLE = orjson.dumps({"choices": [{"message": {"content": "The sea\n is  calm."}}]})
ANSWERS = {
    "a stream": (True, [ROLE, event("The"), event(" sea")], "The sea"),
    "on one line": (True, [event("The\n\n sea\t"), event("is")], "The sea is"),
    "long": (True, [event("word ")] * 100, ("word " * 100)[:LONGEST].rstrip()),
    "whole": (False, [WHOLE[:9], WHOLE[9:]], "The sea is calm."),
    "no text": (True, [b": ping\n\n", b"data: [DONE]\n\n"], ""),
    "not JSON": (False, [b"\xff{"], ""),
    "nothing": (True, [], ""),
    "thinks for too long": (True, [b":" + b"x" * MOST_BYTES + b"\n\n", event("late")], ""),
}


@pytest.mark.parametrize(("streamed", "chunks", "words"), ANSWERS.values(), ids=ANSWERS.keys())
def test_first_words(streamed: bool, chunks: list[bytes], words: str) -> None:
    """Text alone, on one line, of bounded length."""
    assert first_words(chunks, streamed=streamed) == words


def test_content_begins_with_the_first_text() -> None:
    """Not with the role, which comes before it."""
    opening = Opening(streamed=True)
    seen = []
    for data in (ROLE, event("The")[:20], event("The")[20:]):
        opening.feed(data)
        seen.append(opening.has_content)
    assert seen == [False, False, True]


@given(st.binary(max_size=300), st.booleans(), st.integers(1, 20))
def test_any_bytes_will_do(data: bytes, streamed: bool, size: int) -> None:
    """What is not an answer of a dialect has no words."""
    words = first_words([data[at : at + size] for at in range(0, len(data), size)], streamed=streamed)
    assert len(words) <= LONGEST
