"""Tests of `proxy/answer_meter`: what is measured of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson

from replayproxy.model import Chunk, End, Ending, Head, Headers
from replayproxy.proxy.answer_meter import AT_ONCE, GAP_BOUNDS, MOST_BYTES, MOST_EVENTS, AnswerMeter
from tests.doubles.fakes import JSON, MILLISECOND, SSE, ManualClock, answer

ROLE = b'data: {"model":"tiny","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"model":"tiny","choices":[{"index":0,"delta":{"content":"sea"}}]}\n\n'


def metered(
    headers: Headers, *chunks: bytes, is_live: bool = True, at_once: bool = False, ending: Ending = Ending.COMPLETE
) -> AnswerMeter:
    """Play an answer, a chunk every 20 ms, and return its meter."""
    clock = ManualClock()
    meter = AnswerMeter(clock, clock.now(), is_live=is_live)

    async def play() -> None:
        await meter.head(Head(0, 200, headers))
        if at_once:
            clock.move(30 * MILLISECOND)
            meter.burst(answer(*((0, data) for data in chunks)))
        else:
            for number, data in enumerate(chunks, 1):
                clock.move(20 * MILLISECOND)
                meter.chunk(Chunk(number * 20 * MILLISECOND, data))
        await meter.end(End(len(chunks) * 20 * MILLISECOND, ending))

    asyncio.run(play())
    return meter


def test_a_live_stream_has_the_times_of_its_server() -> None:
    """Time to the first content, not to the role; gaps between all chunks; the model that it names."""
    meter = metered(SSE, ROLE, WORD, WORD, WORD)
    assert (meter.status, meter.model, meter.ending) == (200, "tiny", Ending.COMPLETE)
    assert (meter.ttft_ns, meter.total_ns) == (40 * MILLISECOND, 80 * MILLISECOND)
    gaps, total = meter.gaps()
    assert (gaps[GAP_BOUNDS.index(0.025)], sum(gaps), total) == (3, 3, 60 * MILLISECOND)
    assert meter.response_bytes == len(ROLE) + 3 * len(WORD)


def test_what_is_played_has_the_times_at_which_it_went_out() -> None:
    """All chunks of a recording may go out at once: that is one moment, and no gap."""
    meter = metered(SSE, ROLE, WORD, WORD, is_live=False, at_once=True)
    assert (meter.ttft_ns, sum(meter.gaps()[0]), meter.response_bytes) == (
        30 * MILLISECOND,
        0,
        len(ROLE) + 2 * len(WORD),
    )


def test_a_long_stream_is_counted_in_parts() -> None:
    """Its times do not pile up, and no gap is lost between two parts."""
    count = 3 * AT_ONCE + 7
    meter = metered(SSE, *[WORD] * count)
    gaps, total = meter.gaps()
    assert (sum(gaps), total) == (count - 1, (count - 1) * 20 * MILLISECOND)
    assert len(meter._times) == 1
    assert meter.gaps() == (gaps, total)


def test_a_json_answer_names_its_model_and_has_no_gaps() -> None:
    """The pieces of its body say nothing about tokens."""
    body = orjson.dumps({"model": "tiny", "choices": []})
    meter = metered(JSON, body[:9], body[9:])
    assert (meter.model, meter.ttft_ns, sum(meter.gaps()[0])) == ("tiny", None, 0)


def test_models_of_other_dialects() -> None:
    """Within the first event of the Responses and the Messages API."""
    for name in ("response", "message"):
        event = b"data: " + orjson.dumps({"type": "x", name: {"model": "other-model"}}) + b"\n\n"
        assert metered(SSE, event).model == "other-model"


def test_what_is_not_understood_is_only_passed_on() -> None:
    """Coded bodies, no JSON, a body that is too long to be looked into."""
    assert metered((*SSE, ("content-encoding", "gzip")), b"\x1f\x8b").model == ""
    assert metered(JSON, b"{nope").model == ""
    assert metered(JSON, b" " * MOST_BYTES, b' {"model":"x"}').model == ""
    assert metered(SSE, b": ping\n\n" * MOST_BYTES, WORD).ttft_ns is None
    for at_once in (False, True):
        assert metered(SSE, *[ROLE] * (MOST_EVENTS - 1), WORD, at_once=at_once).ttft_ns is not None
        assert metered(SSE, *[ROLE] * MOST_EVENTS, WORD, at_once=at_once).ttft_ns is None


def test_the_bytes_of_an_upload_are_counted() -> None:
    """While they pass."""
    meter = metered(JSON, b"{}")

    async def upload() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"de"

    async def sent() -> list[bytes]:
        return [part async for part in meter.counted(upload())]

    assert asyncio.run(sent()) == [b"abc", b"de"]
    assert meter.request_bytes == 5
