"""Carry out a plan: send each request when it is due, and note what becomes of it.

    plan ──▶ one task per request: read its body, have a connection, wait until it is due, send, listen
                                                                └─ its end lets its successors go

Open loop: a slow server does not slow the requests down that do not wait for its answers. Deadlines are absolute, from
one origin, so that errors do not add up. The driver knows a server, a reader of requests and a recorder as ports.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Protocol

from replayproxy.core.coding import body_of
from replayproxy.core.dialects.dialect import Json, objects
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.folding import folded
from replayproxy.drive.changes import RequestChanges
from replayproxy.drive.history import LiveAnswer, with_live_answers, with_live_response
from replayproxy.drive.marks import AnswerMarks
from replayproxy.drive.plan import DrivePlan, PlannedRequest
from replayproxy.drive.results import Outcome, RequestResult
from replayproxy.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import Ending, Request, Response
from replayproxy.ports import Clock, Listener

LEAD = 250_000_000
"""ns before it is due that a request is read and gets a connection."""

FIRST = 300_000_000
"""ns from the start of the driver to the origin of its plan."""


class Target(Protocol):
    """The live server."""

    async def send(self, request: Request, listener: Listener, on_sent: Callable[[int], None]) -> None:
        """Send once and play the answer; `on_sent` gets the time of the last byte, from which the answer counts."""
        ...

    async def open_connections(self, count: int) -> None:
        """Have so many idle connections."""
        ...


class RequestReader(Protocol):
    """Reads the requests of a recording, in a thread of its own."""

    async def request(self, number: int) -> Request:
        """The request of one exchange."""
        ...


class RecordedAnswer(Listener, Protocol):
    """Records one answer."""

    def begin(self) -> None:
        """The request was complete only now."""
        ...


class RunRecorder(Protocol):
    """Records what comes back."""

    stopping: bool
    """Answers that are cut from now on are cut by us, and not by a client."""

    def record(self, request: Request) -> AbstractContextManager[RecordedAnswer]:
        """The recorder of one exchange."""
        ...


@dataclass(frozen=True, slots=True)
class DriveLimits:
    """What a run may do. Times in ns; None: no limit.

    `cancels`: leave where the recorded client left. `live_history`: answers of the live server in the next turns.
    """

    max_in_flight: int | None = None
    drop_late: int | None = None
    budget_requests: int | None = None
    budget_tokens: int | None = None
    cancels: bool = True
    live_history: bool = False
    keeps_answers: bool = False
    """Keep every answer in `Driver.responses`."""


class Driver:
    """One run of a plan against one server. `run` it once; `results` has each request, in the order of the plan."""

    def __init__(
        self,
        plan: DrivePlan,
        changes: RequestChanges,
        limits: DriveLimits,
        *,
        clock: Clock,
        target: Target,
        reader: RequestReader,
        recorder: RunRecorder | None = None,
    ) -> None:
        self._plan = plan
        self._changes = changes
        self._limits = limits
        self._clock = clock
        self._target = target
        self._reader = reader
        self._recorder = recorder
        self._origin = 0
        self._stopping = asyncio.Event()
        self._slots = None if limits.max_in_flight is None else asyncio.Semaphore(limits.max_in_flight)
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        """Requests that will need a connection soon."""
        self._prefetched: dict[int, asyncio.Task[Request]] = {}
        self._answers: dict[int, tuple[LiveAnswer, ...]] = {}
        self._tokens = 0
        self._reserved = 0
        self._successors: defaultdict[int, list[PlannedRequest]] = defaultdict(list)
        if plan.users is None and plan.options.turns != "none":
            for planned in plan.requests:
                if planned.predecessor is not None:
                    self._successors[planned.predecessor].append(planned)
        self._continued = {one.predecessor for one in plan.requests if one.continues}
        self.results = [RequestResult(planned) for planned in plan.requests]
        self.responses: list[Response | None] = [None] * len(self.results)
        """The answers, where the limits say that they are kept."""
        self.outcomes: Counter[Outcome] = Counter()
        self.sent = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.recent: deque[RequestResult] = deque(maxlen=1000)
        """The results that came last."""

    @property
    def elapsed(self) -> int:
        """ns since the origin of the plan."""
        return max(0, self._clock.now() - self._origin) if self._origin else 0

    @property
    def interrupted(self) -> bool:
        """Whether `stop` was called before the end."""
        return self._stopping.is_set()

    async def run(self) -> None:
        """Send everything, and wait for every answer."""
        self._origin = self._clock.now() + FIRST
        if self._plan.users is None:
            await self._open_loop()
        else:
            await self._closed_loop(self._plan.users)
        while self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._prefetched.values():
            task.cancel()

    def stop(self) -> None:
        """Send nothing more; what is in flight goes on."""
        self._stopping.set()

    def cancel(self) -> None:
        """End what is in flight."""
        self.stop()
        if self._recorder is not None:
            self._recorder.stopping = True
        for task in self._tasks:
            task.cancel()

    # Who is next

    async def _open_loop(self) -> None:
        for planned in self._plan.requests:
            if planned.predecessor is not None and self._plan.options.turns != "none":
                continue
            if not await self._wait_until(self._origin + (planned.at or 0) - LEAD):
                return
            self._start(self._one(planned, None))

    async def _closed_loop(self, sessions: tuple[tuple[int, tuple[int, ...]], ...]) -> None:
        queue = deque(places for _, places in sessions)
        users = min(self._plan.options.concurrency or 1, len(queue))
        ramp = round(self._plan.options.ramp * 1e9)

        async def user(begin: int) -> None:
            eligible = begin
            await self._wait_until(self._origin + begin)
            while queue and not self._stopping.is_set():
                for place in queue.popleft():
                    planned = self._plan.requests[place]
                    await self._one(planned, eligible + (planned.think if planned.number else 0))
                    eligible = self._now()

        for number in range(users):
            self._start(user(ramp * number // users))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait_until(self, at: int) -> bool:
        """Wait, unless the run is stopped. Returns whether it goes on."""
        if at > self._clock.now() and not self._stopping.is_set():
            sleeping = asyncio.ensure_future(self._clock.sleep_until(at))
            stopped = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait((sleeping, stopped), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                stopped.cancel()
        return not self._stopping.is_set()

    def _now(self) -> int:
        return self._clock.now() - self._origin

    # One request

    async def _one(self, planned: PlannedRequest, eligible: int | None) -> None:
        """Send one request when it is due, then let those go that wait for it."""
        result = self.results[planned.place]
        result.scheduled, result.eligible = planned.at, eligible
        try:
            await self._prepare_and_send(planned, result)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            result.outcome = Outcome.NOT_SENT if result.sent is None else Outcome.CANCELLED
            result.reason = "interrupted"
        self.outcomes[result.outcome] += 1
        self.recent.append(result)
        ended = self._now()
        for successor in self._successors.get(planned.place, ()):
            if not self._stopping.is_set():
                self._start(self._one(successor, ended + successor.think))

    async def _prepare_and_send(self, planned: PlannedRequest, result: RequestResult) -> None:
        due = self._origin + (result.due or 0)
        self._waiting += 1
        try:
            request = await self._request(planned, result)
            with suppress(UpstreamError):  # sending says so too
                await self._target.open_connections(self._waiting)
            if not await self._wait_until(due):
                result.reason = "interrupted"
                return
        finally:
            self._waiting -= 1
        if (refused := self._refusal(planned, result)) is not None:
            result.reason = refused
            return
        if self._slots is None:
            await self._send(planned, result, request)
            return
        before = self._clock.now()
        async with self._slots:
            result.waited = self._clock.now() - before
            if self._stopping.is_set():
                result.reason = "interrupted"
                return
            await self._send(planned, result, request)

    def _refusal(self, planned: PlannedRequest, result: RequestResult) -> str | None:
        """Why a request that is due is not sent."""
        limits = self._limits
        if limits.drop_late is not None and self._now() - (result.due or 0) > limits.drop_late:
            return "late by more than --drop-late"
        if limits.budget_requests is not None and self.sent >= limits.budget_requests:
            return "--budget-requests is used up"
        if (
            limits.budget_tokens is not None
            and self._tokens + self._reserved + tokens_of(planned) > limits.budget_tokens
        ):
            return "--budget-tokens is used up"
        return None

    async def _request(self, planned: PlannedRequest, result: RequestResult) -> Request:
        prefetched = self._prefetched.pop(planned.place, None)
        recorded = await (prefetched or self._reader.request(planned.turn.number))
        answers = self._answers.get(planned.predecessor, ()) if planned.predecessor is not None else ()
        if not planned.continues or not answers:
            return self._changes.of(recorded, planned)
        body = parsed(body_of(recorded))
        if planned.turn.thread.previous_id is not None:
            return self._changes.of(recorded, planned, with_live_response(body, answers[-1].answer))
        if not self._limits.live_history:
            return self._changes.of(recorded, planned)
        history = with_live_answers(body, answers)
        result.kept_history = history.kept
        return self._changes.of(recorded, planned, history.body)

    async def _send(self, planned: PlannedRequest, result: RequestResult, request: Request) -> None:
        for successor in self._successors.get(planned.place, ()):
            self._prefetched[successor.place] = asyncio.ensure_future(self._reader.request(successor.turn.number))
        reserved = tokens_of(planned)
        self._reserved += reserved
        self.sent += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        result.dispatched = self._now()
        marks: list[AnswerMarks] = []
        try:
            await self._exchange(planned, result, request, marks)
        finally:
            self.in_flight -= 1
            self._reserved -= reserved
            response = None
            if marks and result.sent is not None:
                response = marks[0].response(self._now() - result.sent)
                result.answer = marks[0].times(request, response)
            answer = result.answer
            self._tokens += (answer.prompt_tokens or 0) + (answer.output_tokens or 0)
            if self._limits.keeps_answers:
                self.responses[planned.place] = response
            self._note_answer(planned, request, response)

    async def _exchange(
        self, planned: PlannedRequest, result: RequestResult, request: Request, marks: list[AnswerMarks]
    ) -> None:
        """Send, listen, and judge what came."""
        leaving: list[asyncio.Future[None]] = []
        playing = asyncio.ensure_future(self._play(planned, request, result, marks, leaving))
        try:
            await playing
        except asyncio.CancelledError:
            if not leaving or not leaving[0].done():  # the run is cancelled, not this request alone
                playing.cancel()
                with suppress(asyncio.CancelledError, UpstreamError):
                    await playing
                raise
            result.outcome, result.reason = Outcome.CANCELLED, "left as the recorded client did"
        except UpstreamError as error:
            result.outcome, result.reason = _failure(error), str(error)
        else:
            result.outcome, result.reason = _judged(marks[0])
        finally:
            for one in leaving:
                one.cancel()

    async def _play(
        self,
        planned: PlannedRequest,
        request: Request,
        result: RequestResult,
        marks: list[AnswerMarks],
        leaving: list[asyncio.Future[None]],
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        recording = nullcontext() if self._recorder is None else self._recorder.record(request)
        with recording as recorded:
            marks.append(AnswerMarks(recorded))

            def on_sent(at: int) -> None:
                result.sent = at - self._origin
                if recorded is not None:
                    recorded.begin()
                if self._limits.cancels and planned.turn.client_left:
                    after = round(planned.turn.took / self._plan.options.speed)
                    leaving.append(asyncio.ensure_future(self._leave(task, at + after)))

            await self._target.send(request, marks[0], on_sent)

    async def _leave(self, playing: asyncio.Task[None], at: int) -> None:
        """Leave as long after the request was sent as the recorded client did, at the speed of the run."""
        await self._clock.sleep_until(at)
        playing.cancel()

    def _note_answer(self, planned: PlannedRequest, request: Request, response: Response | None) -> None:
        """Keep an answer that a later turn continues."""
        before = self._answers.get(planned.predecessor, ()) if planned.predecessor is not None else ()
        if not planned.continues:
            before = ()
        if planned.place not in self._continued:
            return
        answer: Json | None = folded(request.path, response) if response is not None else None
        if answer is not None:
            position = len(list(objects(parsed(body_of(request)).get("messages"))))
            before = (*before, LiveAnswer(position, answer))
        self._answers[planned.place] = before


def tokens_of(planned: PlannedRequest) -> int:
    """How many tokens a request costs, as far as the recording says."""
    return (planned.turn.prompt_tokens or 0) + (planned.turn.output_tokens or 0)


def _judged(marks: AnswerMarks) -> tuple[Outcome, str]:
    """What became of an answer that has ended, and why it is not well."""
    status = marks.status or 0
    if marks.ending is Ending.TIMEOUT:
        return Outcome.TIMEOUT, "silent too long within the answer"
    if marks.ending is not Ending.COMPLETE:
        return Outcome.TRUNCATED, "the answer broke off"
    return (Outcome.OK, "") if status < 400 else (Outcome.HTTP_ERROR, f"status {status}")


def _failure(error: UpstreamError) -> Outcome:
    if isinstance(error, UpstreamUnreachable):
        return Outcome.UNREACHABLE
    return Outcome.TIMEOUT if isinstance(error, UpstreamTimeout) else Outcome.PROTOCOL_ERROR
