"""When the parts of an answer came, and that a recorder gets everything."""

from __future__ import annotations

import asyncio

from replayproxy.drive.marks import AnswerMarks, AnswerTimes, last_content
from replayproxy.model import Chunk, End, Ending, Head, Response
from tests.doubles.driving import MS, chat_request, message_answer, streamed_text
from tests.doubles.fakes import HearingListener, ManualClock, answer


def measured(response: Response) -> AnswerTimes:
    """What is measured of an answer that comes whole."""
    marks = AnswerMarks()

    async def play() -> None:
        await marks.head(Head(response.timeline.head, response.status, response.headers))
        marks.burst(response)
        await marks.end(End(response.timeline.end, response.ending))

    asyncio.run(play())
    return marks.times(chat_request("a"), marks.response(0))


def test_the_role_event_is_the_first_event_and_not_the_first_content() -> None:
    """Events at 10, 15, 20 … ms: the role, three words, the finish reason, the usage, [DONE]."""
    times = measured(streamed_text("one two three", usage=(7, 3)))
    assert (times.first_byte, times.first_event, times.first_content, times.last_content, times.end) == (
        10 * MS, 10 * MS, 15 * MS, 25 * MS, 40 * MS,
    )  # fmt: skip
    assert (times.prompt_tokens, times.output_tokens, times.chunks) == (7, 3, 7)
    assert (times.mean_gap, times.max_gap, times.tpot) == (5 * MS, 5 * MS, 5 * MS)


def test_the_last_content_of_a_long_stream_is_found() -> None:
    """Near its end, and also where much else follows."""
    assert last_content(streamed_text(" ".join(["w"] * 50))) == (10 + 5 * 50) * MS
    chunks = [(MS, b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')]
    assert last_content(answer(*chunks, *((place * MS, b": ping\n\n") for place in range(2, 30)))) == MS
    assert last_content(message_answer({"content": "a"})) is None


def test_an_answer_in_one_piece_has_no_first_content() -> None:
    """Its tokens came before it was sent, and nobody knows when."""
    times = measured(message_answer({"role": "assistant", "content": "x"}))
    assert (times.status, times.first_content, times.last_content, times.tpot, times.mean_gap) == (
        200, None, None, None, None,
    )  # fmt: skip


def test_what_came_before_it_broke_counts() -> None:
    """With the time at which the driver noticed; without a head there is nothing."""
    marks = AnswerMarks()
    assert marks.response(5) is None
    assert marks.times(chat_request("a"), None) == AnswerTimes()
    asyncio.run(marks.head(Head(1, 200, ())))
    marks.chunk(Chunk(2, b"x"))
    broken = marks.response(9)
    assert broken is not None
    assert (broken.body, broken.timeline.end, broken.ending) == (b"x", 9, Ending.CLIENT_LEFT)
    assert (marks.status, marks.ending) == (200, None)


def test_the_recorder_gets_everything_and_holds_up() -> None:
    """Also that it is full."""
    log: list[str] = []
    marks = AnswerMarks(HearingListener(log, ManualClock(), congested_after=[1]))

    async def play() -> None:
        await marks.head(Head(1, 200, ()))
        marks.chunk(Chunk(2, b"x"))
        assert marks.congested
        await marks.ready()
        await marks.end(End(3, Ending.COMPLETE))

    asyncio.run(play())
    assert log == [
        "0 client hears 200",
        "0 client hears x",
        "0 client has caught up",
        "0 client hears the end: COMPLETE",
    ]
    assert not AnswerMarks().congested
