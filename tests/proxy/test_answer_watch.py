"""A watched answer reaches the client as it is, and afterwards its line can be written."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from replayproxy.model import Chunk, End, Ending, Head, Headers
from replayproxy.proxy.answer_watch import AnswerWatch
from tests.doubles.fakes import JSON, MILLISECOND, SSE, ManualClock, answer

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"sea"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"total_tokens":10,"completion_tokens":7}}\n\n'
DONE = b"data: [DONE]\n\n"


def watched(headers: Headers, *chunks: bytes, ending: Ending = Ending.COMPLETE, at_once: bool = False) -> AnswerWatch:
    """Play an answer, a chunk every 10 ms, and return its watch."""
    clock = ManualClock()
    watch = AnswerWatch(clock, clock.now())

    async def play() -> None:
        await watch.head(Head(0, 200, headers))
        if at_once:
            watch.burst(answer(*((0, data) for data in chunks)))
        else:
            for number, data in enumerate(chunks, 1):
                clock.move(10 * MILLISECOND)
                watch.chunk(Chunk(number, data))
        await watch.end(End(9, ending))

    asyncio.run(play())
    return watch


def test_a_stream() -> None:
    """Time to the first content, not to the role; tokens from the usage at its end."""
    watch = watched(SSE, ROLE, WORD, WORD, USAGE, DONE)
    assert (watch.status, watch.ending, watch.words, watch.tokens) == (200, Ending.COMPLETE, "seasea", 7)
    assert watch.ttft == 20 * MILLISECOND
    assert watch.total == 50 * MILLISECOND


def test_a_recording_that_is_played_at_once() -> None:
    """All chunks come in one call."""
    watch = watched(SSE, ROLE, WORD, USAGE, DONE, at_once=True)
    assert (watch.words, watch.tokens) == ("sea", 7)


def test_usage_at_the_end_of_a_long_stream() -> None:
    """Little of it is kept."""
    watch = watched(SSE, *[WORD] * 2000, USAGE, DONE)
    assert watch.tokens == 7
    assert len(watch._body) <= 3 * 4096


@pytest.mark.parametrize(("size", "tokens"), [(10, 7), (200_000, None)])
def test_a_whole_answer(size: int, tokens: int | None) -> None:
    """Its usage, unless it is too long to be kept for this."""
    message = {"choices": [{"message": {"content": "x" * size}}], "usage": {"completion_tokens": 7}}
    watch = watched(JSON, orjson.dumps(message))
    assert (watch.tokens, watch.ttft) == (tokens, None)


def test_a_coded_answer_is_not_looked_into() -> None:
    """Its bytes are not text."""
    watch = watched((*SSE, ("content-encoding", "gzip")), b"\x1f\x8b")
    assert (watch.words, watch.tokens, watch.ttft) == ("", None, None)
