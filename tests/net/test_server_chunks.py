"""One HTTP chunk that needs several reads: a replay at speed max sends the server's chunks, and no others.

The server sends the pieces of a chunk in packets of their own; what a client of the replay gets is compared frame by
frame. At a pace, reads go out at their times, and the bytes are the same.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from replayproxy.cassette.reader import CassetteReader
from replayproxy.settings import Replaying
from tests import wire
from tests.apps import recording, replaying, run, running
from tests.doubles.upstreams import STREAM, Send, Step, Wait, chunk, scripted
from tests.recordings import asked

BIG = bytes(range(256)) * 2000
"""Half a megabyte: no read of a socket takes it at once."""


def split(data: bytes, *places: int) -> list[bytes]:
    """Bytes, cut at these places."""
    bounds = [0, *places, len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(bounds)]


A, B, C = chunk(b"0123456789abcdefghij"), chunk(b"hello"), chunk(b"data: [DONE]\n\n")
END = b"0\r\n\r\n"
SENT: dict[str, tuple[list[bytes], list[bytes]]] = {
    # what the server sends, a packet each; what its chunks are
    "within the data": ([*split(A, 14), B + END], [b"0123456789abcdefghij", b"hello"]),
    "in three reads": ([*split(A, 6, 12), B + END], [b"0123456789abcdefghij", b"hello"]),
    "a byte at a time": ([A[place : place + 1] for place in range(len(A))] + [B + END], [A[4:24], b"hello"]),
    "before its last line end": ([A[:-2], b"\r\n" + B + END], [b"0123456789abcdefghij", b"hello"]),
    "between CR and LF": ([A[:-1], b"\n" + B + END], [b"0123456789abcdefghij", b"hello"]),
    "within its size": ([*split(A, 1), B + END], [b"0123456789abcdefghij", b"hello"]),
    "the end of one with the begin of another": ([A[:14], A[14:] + B[:5], B[5:] + END], [A[4:24], b"hello"]),
    "two in one read, then half of one": ([A + B, *split(C, 7), END], [A[4:24], b"hello", b"data: [DONE]\n\n"]),
    "with an extension": ([b"14;x=", b"y\r\n01234", b"56789abcdefghij\r\n", END], [A[4:24]]),
    "the last-chunk apart": ([A, B, b"0\r\n", b"\r\n"], [A[4:24], b"hello"]),
    "with a trailer": ([*split(A, 9), b"0\r\nx: y\r\n", b"\r\n"], [A[4:24]]),
    "half a megabyte": ([chunk(BIG), B + END], [BIG, b"hello"]),
    "half a megabyte, twice, in halves": ([*split(chunk(BIG), 300_000), *split(chunk(BIG), 9), END], [BIG, BIG]),
}


@pytest.mark.parametrize(("packets", "chunks"), SENT.values(), ids=SENT)
def test_a_replay_sends_the_chunks_of_the_server(tmp_path: Path, packets: list[bytes], chunks: list[bytes]) -> None:
    """Exactly these; and again when the answer comes out of memory; at a pace the same bytes."""
    cassette = tmp_path / "a.cassette"
    question = asked("chunks", stream=True)
    script: list[Step] = [Send(STREAM)]
    for packet in packets:
        script += [Send(packet), Wait(0.02)]

    async def story() -> None:
        async with scripted(*script) as upstream, running(recording(cassette, upstream.url)) as proxy:
            live = await wire.ask(proxy.url, question)
            assert (live.whole, live.body) == (True, b"".join(chunks))
        async with running(replaying(cassette)) as proxy:
            for _ in range(2):
                played = await wire.ask(proxy.url, question)
                assert (played.whole, [frame.data for frame in played.frames]) == (True, chunks)
        async with running(replaying(cassette, replaying=Replaying(speed=50.0))) as proxy:
            timed = await wire.ask(proxy.url, question)
            assert (timed.whole, timed.body) == (True, b"".join(chunks))

    run(asyncio.wait_for(story(), 60))


def test_a_chunk_that_was_cut_is_sent_as_far_as_it_came(tmp_path: Path) -> None:
    """The upstream dies within a chunk: with --allow-incomplete its bytes come, and no end."""
    cassette = tmp_path / "a.cassette"
    question = asked("chunks", stream=True)

    async def story() -> None:
        script = (Send(STREAM + B), Wait(0.02), Send(A[:9]), Wait(0.02), Send(A[9:14]))
        async with scripted(*script) as upstream, running(recording(cassette, upstream.url)) as proxy:
            async with wire.connect(proxy.url) as connection:
                connection.send(question)
                asking = asyncio.create_task(connection.answer())
                await asyncio.sleep(0.3)
                for task in upstream._tasks:
                    task.cancel()
                live = await asking
        assert (live.whole, live.body) == (False, b"hello" + A[4:14])
        async with running(replaying(cassette, replaying=Replaying(allow_incomplete=True))) as proxy:
            played = await wire.ask(proxy.url, question)
            assert (played.whole, played.body) == (False, b"hello" + A[4:14])

    run(asyncio.wait_for(story(), 30))


def test_both_are_on_the_cassette(tmp_path: Path) -> None:
    """The time of each read, and which reads ended no chunk."""
    cassette = tmp_path / "a.cassette"

    async def story() -> None:
        script = [Send(STREAM), *(step for packet in split(A, 9, 14) for step in (Send(packet), Wait(0.05)))]
        async with scripted(*script, Send(B + END)) as upstream, running(recording(cassette, upstream.url)) as proxy:
            await wire.ask(proxy.url, asked("chunks", stream=True))

    run(story())
    with CassetteReader(cassette) as opened:
        response = opened.response(1)
    assert (response.cuts, response.continued) == ((5, 5, 10, 5), (0, 1))
    gaps = [later - earlier for earlier, later in zip(response.timeline.chunks, response.timeline.chunks[1:])]  # noqa: B905  pairs
    assert all(gap > 30_000_000 for gap in gaps[:2])
