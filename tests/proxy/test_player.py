"""Recorded answers are played on time: at absolute deadlines, late ones at once, and lateness is counted."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from replayproxy.core.timing import Pace
from replayproxy.model import Chunk, End, Ending, Head, Leg, Response
from replayproxy.proxy.counters import LATENESS_BOUNDS, Counters
from replayproxy.proxy.player import Player
from tests.doubles.fakes import MILLISECOND, SSE, HearingListener, ManualClock, answer, turns

START = 100 * MILLISECOND
BEAT = answer(
    (20 * MILLISECOND, b"a"),
    (30 * MILLISECOND, b"b"),
    (31 * MILLISECOND, b"c"),
    head=10 * MILLISECOND,
    end=40 * MILLISECOND,
)


class Stage:
    """A player, a listener, and a clock at `START`."""

    def __init__(
        self,
        speed: float | None,
        *,
        congested_after: tuple[int, ...] = (),
        pause: int = 0,
        stall: int = 0,
        clock: ManualClock | None = None,
    ) -> None:
        self.clock = clock or ManualClock(START)
        self.tally = Counters()
        self.log: list[str] = []
        self.listener = HearingListener(self.log, self.clock, congested_after=congested_after, pause=pause)
        self.player = Player(self.clock, Pace(speed), self.tally, stall=stall)

    def play(self, response: Response, started: int = START) -> list[str]:
        """What the listener heard, and when (in ms)."""
        asyncio.run(self.player.play_response(response, self.listener, started))
        return self.log

    @property
    def late(self) -> list[int]:
        """How often something was late, by bound."""
        return self.tally.lateness_counts


SPEEDS: list[tuple[float, list[int]]] = [
    (1, [110, 120, 130, 131, 140]),
    (2, [105, 110, 115, 115, 120]),
    (0.5, [120, 140, 160, 162, 180]),
]


@pytest.mark.parametrize(("speed", "times"), SPEEDS)
def test_everything_comes_when_it_is_due(speed: float, times: list[int]) -> None:
    """Head, each chunk and the end at the request's time plus their own, divided by the speed; never late."""
    stage = Stage(speed)
    words = ["hears 200", "hears a", "hears b", "hears c", "hears the end: COMPLETE"]
    assert stage.play(BEAT) == [f"{at} client {word}" for at, word in zip(times, words, strict=True)]
    assert sum(stage.late) == stage.late[0] == 5
    assert stage.tally.lateness_max == 0


def test_deadlines_are_absolute() -> None:
    """They count from when the request was complete and not from one another: time that was lost before is made up."""
    stage = Stage(1)
    stage.clock.move(5 * MILLISECOND)  # between the request and the playing
    stage.play(BEAT)
    assert stage.clock.slept == [START + at * MILLISECOND for at in (10, 20, 30, 31, 40)]


def test_what_is_late_goes_out_at_once() -> None:
    """No chunk is left out, none waits, and what is due later is on time again; how late it was is counted."""
    stage = Stage(1)
    stage.clock.move(25 * MILLISECOND)
    assert stage.play(BEAT) == [
        "125 client hears 200",
        "125 client hears a",
        "130 client hears b",
        "131 client hears c",
        "140 client hears the end: COMPLETE",
    ]
    counts = dict(zip([*LATENESS_BOUNDS, None], stage.late, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.0001: 3, 0.005: 1, 0.02: 1}
    assert stage.tally.lateness_max == pytest.approx(0.015)
    assert stage.tally.lateness_sum == pytest.approx(0.020)


def test_what_is_due_by_now_goes_out_together() -> None:
    """One burst, with its boundaries and its lateness chunk by chunk: a held-up server said it all at once too."""
    stage = Stage(1)
    stage.clock.move(30 * MILLISECOND)
    assert stage.play(BEAT) == [
        "130 client hears 200",
        "130 client hears at once a b",
        "131 client hears c",
        "140 client hears the end: COMPLETE",
    ]
    assert [item.data for item in stage.listener.heard if isinstance(item, Chunk)] == [b"a", b"b", b"c"]
    assert sum(stage.late) == 5
    assert stage.tally.lateness_sum == pytest.approx(0.020 + 0.010 + 0)


def test_a_congested_listener_is_waited_for() -> None:
    """What it held up is late, and said to be."""
    stage = Stage(1, congested_after=(1,), pause=10_500_000)
    assert stage.play(BEAT) == [
        "110 client hears 200",
        "120 client hears a",
        "130 client has caught up",
        "130 client hears b",
        "131 client hears c",
        "140 client hears the end: COMPLETE",
    ]
    assert stage.tally.lateness_max == pytest.approx(0.0005)


def test_speed_max_is_one_burst() -> None:
    """No wait, no lateness, all chunks in one call, with their boundaries."""
    stage = Stage(None)
    assert stage.play(BEAT) == [
        "100 client hears 200",
        "100 client hears at once a b c",
        "100 client hears the end: COMPLETE",
    ]
    assert (stage.clock.slept, sum(stage.late)) == ([], 0)
    assert [item.data for item in stage.listener.heard if isinstance(item, Chunk)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("speed", [None, 1])
@pytest.mark.parametrize("ending", list(Ending))
def test_a_broken_ending_is_played_as_it_was(speed: float | None, ending: Ending) -> None:
    """The bytes that were recorded, then the same unclean end."""
    stage = Stage(speed)
    stage.play(answer((1, b"half"), ending=ending))
    assert stage.log[-1].endswith(f"hears the end: {ending.name}")
    assert [item.data for item in stage.listener.heard if isinstance(item, Chunk)] == [b"half"]


@pytest.mark.parametrize("speed", [None, 1])
@pytest.mark.parametrize(
    "response",
    [
        answer(status=204, headers=()),
        answer((0, b"")),
        answer((0, b"x"), (0, b""), (0, b"y"), status=500, headers=(("A", "1"), ("a", "2"))),
    ],
)
def test_status_fields_and_bytes_are_the_recorded_ones(speed: float | None, response: Response) -> None:
    """Also none, empty ones, and more than one field line of a name."""
    stage = Stage(speed)
    stage.play(response)
    head, *chunks, end = stage.listener.heard
    assert isinstance(head, Head)
    assert head[1:] == (response.status, response.headers)
    assert [chunk for chunk in chunks if isinstance(chunk, Chunk)] == list(response.chunks())
    assert isinstance(end, End)
    assert end.ending is Ending.COMPLETE


def test_a_pace_is_for_all_answers_of_a_player() -> None:
    """The same player plays many; each counts from its own start."""
    stage = Stage(1)
    one = answer((MILLISECOND, b"a"), headers=SSE)
    stage.play(one)
    stage.play(one, started=stage.clock.now())
    assert [line for line in stage.log if line.endswith(" a")] == ["101 client hears a", "102 client hears a"]


# An answer whose client had left

LEFT = answer((10 * MILLISECOND, b"so far"), end=15 * MILLISECOND, ending=Ending.CLIENT_LEFT)
STALL = 30_000 * MILLISECOND


class StandingClock(ManualClock):
    """Time does not go on."""

    async def sleep_until(self, at: int) -> None:
        """Wait for ever, unless that has passed."""
        if at > self.now():
            await asyncio.Event().wait()


@pytest.mark.parametrize(("speed", "until"), [(None, 30_100), (1, 30_115), (2, 30_107)])
def test_an_answer_whose_client_had_left_is_held_open_and_then_ends_uncleanly(speed: float | None, until: int) -> None:
    """From where it breaks off, for as long as `--stall` says: whoever stays must not take it for whole."""
    stage = Stage(speed, stall=STALL)
    log = stage.play(LEFT)
    assert log[-1] == f"{until} client hears the end: CLIENT_LEFT"
    assert [item.data for item in stage.listener.heard if isinstance(item, Chunk)] == [b"so far"]


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.CLIENT_LEFT])
def test_nothing_else_is_held(ending: Ending) -> None:
    """What was whole ends, and what broke off breaks off."""
    stage = Stage(None, stall=STALL)
    assert stage.play(answer((1, b"half"), ending=ending))[-1] == f"100 client hears the end: {ending.name}"


@pytest.mark.parametrize("released", ["before", "while it is held"])
@pytest.mark.parametrize("speed", [None, 1])
def test_an_app_that_stops_does_not_wait_for_what_is_held(speed: float | None, released: str) -> None:
    """Nor is anything held from then on."""
    stage = Stage(speed, stall=STALL, clock=StandingClock(START + 20 * MILLISECOND))

    async def play() -> None:
        if released == "before":
            stage.player.release()
        playing = asyncio.create_task(stage.player.play_response(LEFT, stage.listener, START))
        await turns()
        assert playing.done() == (released == "before")
        stage.player.release()
        await playing

    asyncio.run(play())
    assert stage.log[-1] == "120 client hears the end: CLIENT_LEFT"


@pytest.mark.parametrize("speed", [None, 1])
def test_a_client_that_leaves_again_ends_it(speed: float | None) -> None:
    """Its handler is cancelled: no end is told, and nothing goes on."""
    stage = Stage(speed, stall=STALL, clock=StandingClock(START + 20 * MILLISECOND))

    async def play() -> None:
        playing = asyncio.create_task(stage.player.play_response(LEFT, stage.listener, START))
        await turns()
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing
        await turns()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(play())
    assert stage.log[-1].endswith("so far")


class Slow:
    """A client that takes nothing before the test says so, and keeps nothing."""

    wants_whole = False
    congested = True

    def __init__(self) -> None:
        self.takes = asyncio.Event()
        self.waits = asyncio.Event()
        self.size = 0

    async def ready(self) -> None:
        """Wait for the test."""
        self.waits.set()
        await self.takes.wait()

    async def head(self, head: Head) -> None:
        """Nothing of it."""

    def chunk(self, chunk: Chunk) -> None:
        """Its size."""
        self.size += len(chunk.data)

    def burst(self, response: Response) -> None:
        """Its size."""
        self.size += len(response.body)

    def leg(self, leg: Leg) -> None:
        """Nothing of it."""

    async def end(self, end: End) -> None:
        """Nothing of it."""


@pytest.mark.parametrize("speed", [1, 2])
def test_of_a_long_answer_a_slow_client_has_no_copy(speed: float) -> None:
    """20 clients that take nothing of 4 MB in 40 000 chunks: all of them together have less than one list of those."""
    response = answer(*((MILLISECOND * number, b"x" * 100) for number in range(1, 40_001)))
    slow = [Slow() for _ in range(20)]

    async def play() -> int:
        clock = ManualClock(START)
        player = Player(clock, Pace(speed), Counters())
        tracemalloc.start()
        try:
            playing = [asyncio.create_task(player.play_response(response, client, START)) for client in slow]
            for client in slow:
                await client.waits.wait()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            for client in slow:
                client.takes.set()
            await asyncio.gather(*playing)

    assert asyncio.run(play()) < 1_000_000
    assert [client.size for client in slow] == [4_000_000] * 20
