"""When each recorded request is to be sent, and after which other one: pure, the same for the same options and seed.

    RecordedTurn, … + PlanOptions ──▶ DrivePlan: PlannedRequest, …      which the driver carries out

Times are ns since the start of the run. A request is eligible at its own time, and not before its predecessor's answer
has ended (`--turns recorded`), or a recorded pause after that (`think`).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

from replayproxy.drive.arrivals import NANOSECONDS, ArrivalProcess
from replayproxy.drive.recorded import RecordedTurn
from replayproxy.drive.sessions import SessionTurn, session_turns
from replayproxy.errors import SettingsError

TURNS = ("recorded", "think", "none")


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How a recording is spread over time. Times are in seconds.

    `process` and `concurrency` replace the recorded arrivals; at most one of them is given.
    """

    speed: float = 1.0
    process: ArrivalProcess | None = None
    concurrency: int | None = None
    ramp: float = 0.0
    """With `concurrency`: the users begin within this time."""
    turns: str = "recorded"
    think_speed: float | None = None
    """None: `speed`."""
    loops: int = 1
    copies: int = 1
    copy_offset: float = 0.0
    max_idle_gap: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.process is not None and self.concurrency is not None:
            raise SettingsError("--rate and --concurrency are two ways to send: give one of them")
        if self.speed <= 0 or (self.think_speed is not None and self.think_speed <= 0):
            raise SettingsError("a speed is more than 0: --speed 2 is twice as fast")


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request of a run. `loop` counts how often the recording was begun before, copies included.

    `at` None: as soon as it is its turn. `think`: ns that must pass after the predecessor's answer.
    """

    place: int
    turn: RecordedTurn
    loop: int
    session: str
    number: int
    """Which turn of its session it is, from 0."""
    at: int | None
    predecessor: int | None = None
    think: int = 0
    continues: bool = False


@dataclass(frozen=True, slots=True)
class DrivePlan:
    """All requests of a run, in the order of their arrival. `users` None: open loop; else one queue of places each."""

    requests: tuple[PlannedRequest, ...]
    options: PlanOptions
    users: tuple[tuple[int, tuple[int, ...]], ...] | None = None
    """In closed loop: the sessions in their order, as (place of the first request, all places)."""

    @property
    def sessions(self) -> int:
        """Different sessions."""
        return len({(request.session, request.loop) for request in self.requests})

    def expected(self) -> tuple[int, int]:
        """The ns that the run takes, and the most requests in flight, if answers take as long as recorded."""
        if self.options.concurrency is not None:
            return self._expected_closed(self.options.concurrency)
        ends: list[int] = []
        running: list[tuple[int, int]] = []
        for request in self.requests:
            begin = request.at or 0
            if request.predecessor is not None and self.options.turns != "none":
                after = ends[request.predecessor]
                begin = after + request.think if request.at is None else max(begin, after)
            ends.append(begin + request.turn.took)
            running += [(begin, 1), (begin + request.turn.took, -1)]
        most = now = 0
        for _, change in sorted(running):
            now += change
            most = max(most, now)
        return max(ends, default=0), most

    def _expected_closed(self, users: int) -> tuple[int, int]:
        free = [0] * min(users, len(self.users or ()))
        for _, places in self.users or ():
            took = sum(self.requests[place].turn.took + self.requests[place].think for place in places)
            heapq.heapreplace(free, free[0] + took)
        return max(free, default=0), len(free)


def plan_of(turns: Sequence[RecordedTurn], options: PlanOptions) -> DrivePlan:
    """Plan a run. `turns` are in the order of their arrival; none of them is left out."""
    sessions = session_turns(turns)
    starts = _starts(turns, options)
    period = max(
        (start + round(turn.took / options.speed) for start, turn in zip(starts, turns, strict=True)), default=0
    )
    offset = round(options.copy_offset * NANOSECONDS)
    times: list[tuple[int, int, int]] = []
    for loop in range(options.loops):
        for copy in range(options.copies):
            repeat = loop * options.copies + copy
            begin = loop * (period + offset * (options.copies - 1)) + copy * offset
            times += [(begin + start, repeat, place) for place, start in enumerate(starts)]
    times.sort()
    requests = _planned(times, turns, sessions, options)
    if options.process is not None:
        requests = _rated(requests, options, options.process)
    if options.concurrency is not None:
        return DrivePlan(tuple(requests), options, _by_session(requests))
    return DrivePlan(tuple(requests), options)


def _starts(turns: Sequence[RecordedTurn], options: PlanOptions) -> list[int]:
    """When each request arrives, in ns after the first one, at the speed of the run and without long pauses."""
    longest = None if options.max_idle_gap is None else round(options.max_idle_gap * NANOSECONDS)
    starts: list[int] = []
    now = 0.0
    for place, turn in enumerate(turns):
        gap = (turn.at - turns[place - 1].at) / options.speed if place else 0.0
        now += gap if longest is None else min(gap, longest)
        starts.append(round(now))
    return starts


def _planned(
    times: Sequence[tuple[int, int, int]],
    turns: Sequence[RecordedTurn],
    sessions: Sequence[SessionTurn],
    options: PlanOptions,
) -> list[PlannedRequest]:
    places: dict[tuple[int, int], int] = {}
    planned: list[PlannedRequest] = []
    think_speed = options.think_speed or options.speed
    for place, (at, repeat, original) in enumerate(times):
        turn, session = turns[original], sessions[original]
        predecessor, think = None, 0
        if session.predecessor is not None and options.turns != "none":
            predecessor = places.get((repeat, session.predecessor))
            if options.turns == "think":
                think = round((turn.at - turns[session.predecessor].ended) / think_speed)
        waits = options.concurrency is not None or (options.turns == "think" and predecessor is not None)
        planned.append(
            PlannedRequest(
                place=place,
                turn=turn,
                loop=repeat,
                session=session.session,
                number=session.turn,
                at=None if waits else at,
                predecessor=predecessor,
                think=think,
                continues=session.continues and predecessor is not None,
            )
        )
        places[repeat, original] = place
    return planned


def _rated(requests: Sequence[PlannedRequest], options: PlanOptions, process: ArrivalProcess) -> list[PlannedRequest]:
    """The same requests in their order at the times of a process; those that wait for their turn keep their pause."""
    timed = [request for request in requests if request.at is not None]
    times = dict(zip([request.place for request in timed], process.times(len(timed), options.seed), strict=True))
    return [replace(request, at=times.get(request.place)) for request in requests]


def _by_session(requests: Sequence[PlannedRequest]) -> tuple[tuple[int, tuple[int, ...]], ...]:
    sessions: dict[tuple[int, str], list[int]] = {}
    for request in requests:
        sessions.setdefault((request.loop, request.session), []).append(request.place)
    return tuple((places[0], tuple(places)) for places in sessions.values())
