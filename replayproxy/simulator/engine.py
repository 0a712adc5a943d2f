"""Run sequences as an inference engine does: so many at once, the others wait in the order in which they came.

    run ──▶ accepted ──▶ (queued) ──▶ started ──▶ first_token ──▶ token … ──▶ finished      or failed, anywhere

Deadlines are absolute: a token is due at the due time of the one before it plus its latency, so delays of the event
loop do not add up. Knows no HTTP and no text.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from replayproxy.ports import Clock
from replayproxy.simulator.latency import Latency
from replayproxy.simulator.listeners import Admission, AdmissionRule, EngineListener, Listeners
from replayproxy.simulator.sequence import EngineSequence

TURN = 64
"""Tokens that are due at once and go out before others have their turn of the event loop."""


class QueueFull(Exception):
    """No room in the waiting queue."""


class TokenSink(Protocol):
    """Receives the tokens of sequences."""

    @property
    def congested(self) -> bool:
        """Its client reads too slowly; the sequence then waits for `ready`."""
        ...

    def token(self, sequence: EngineSequence, at: int) -> None:
        """Token number `sequence.generated`, counted from 1, due at this time. Never waits."""
        ...

    async def ready(self) -> None:
        """Wait until no longer congested."""
        ...


@dataclass(eq=False, slots=True)
class _Waiting:
    sequence: EngineSequence
    started: asyncio.Future[None]


class Engine:
    """The running set and the waiting queue. Used by one event loop."""

    def __init__(
        self,
        clock: Clock,
        latency: Latency | None = None,
        *,
        max_num_seqs: int = 5,
        max_waiting: int = 1000,
        listeners: Sequence[EngineListener] = (),
        rules: Sequence[AdmissionRule] = (),
        late: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`late` is called with the ns by which each token was late."""
        self.latency = latency or Latency()
        """May be replaced while the engine runs: it counts from the next token."""
        self.max_num_seqs = max_num_seqs
        self.max_waiting = max_waiting
        self.running: list[EngineSequence] = []
        self._waiting: deque[_Waiting] = deque()
        self._clock = clock
        self._listener = Listeners(listeners)
        self._rules = tuple(rules)
        self._late = late

    @property
    def waiting(self) -> list[EngineSequence]:
        """Those that wait, in their order."""
        return [entry.sequence for entry in self._waiting]

    def accept(self, sequences: Sequence[EngineSequence], arrived_at: int) -> None:
        """Make sure that there is room for all sequences of a request, just before `run`. Raises `QueueFull`."""
        free = self.max_num_seqs - len(self.running) if not self._waiting else 0
        if len(self._waiting) + len(sequences) - max(0, free) > self.max_waiting:
            for sequence in sequences:
                self._listener.rejected(sequence, arrived_at)
            raise QueueFull

    async def run(self, sequences: Sequence[EngineSequence], sink: TokenSink, arrived_at: int) -> None:
        """Generate the sequences of one request. Returns when all are finished."""
        if len(sequences) == 1:
            await self._run_one(sequences[0], sink, arrived_at)
            return
        async with asyncio.TaskGroup() as group:
            for sequence in sequences:
                group.create_task(self._run_one(sequence, sink, arrived_at))

    async def _run_one(self, sequence: EngineSequence, sink: TokenSink, arrived_at: int) -> None:
        sequence.arrived_at = arrived_at
        self._listener.accepted(sequence, arrived_at)
        try:
            await self._wait_for_start(sequence)
        except asyncio.CancelledError:
            self._fail(sequence)
            raise
        try:
            await self._generate(sequence, sink)
        except BaseException:
            self._release(sequence, self._clock.now())
            self._fail(sequence)
            raise
        at = sequence.last_token_at
        self._release(sequence, at)
        self._listener.finished(sequence, at)

    async def _wait_for_start(self, sequence: EngineSequence) -> None:
        entry = _Waiting(sequence, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._schedule(sequence.arrived_at)
        if entry.started.done():
            return
        self._listener.queued(sequence, sequence.arrived_at)
        try:
            await entry.started
        except asyncio.CancelledError:
            if entry.started.done() and not entry.started.cancelled():
                self._release(sequence, self._clock.now())  # it was started in the same turn of the loop
            else:
                self._waiting.remove(entry)
            raise

    def _schedule(self, at: int) -> None:
        """Start those that may start now, in their order."""
        passed: list[_Waiting] = []
        while self._waiting and len(self.running) < self.max_num_seqs:
            entry = self._waiting.popleft()
            admission = self._admit(entry.sequence)
            if admission is Admission.ADMITTED:
                sequence = entry.sequence
                sequence.started_at = max(at, sequence.arrived_at)
                self.running.append(sequence)
                entry.started.set_result(None)
                self._listener.started(sequence, sequence.started_at)
                continue
            passed.append(entry)
            if admission is Admission.BLOCKED:
                break
        self._waiting.extendleft(reversed(passed))

    def _admit(self, sequence: EngineSequence) -> Admission:
        for number, rule in enumerate(self._rules):
            admission = rule.admit(sequence)
            if admission is not Admission.ADMITTED:
                for earlier in self._rules[:number]:
                    earlier.release(sequence)
                return admission
        return Admission.ADMITTED

    def _release(self, sequence: EngineSequence, at: int) -> None:
        self.running.remove(sequence)
        for rule in self._rules:
            rule.release(sequence)
        self._schedule(at)

    def _fail(self, sequence: EngineSequence) -> None:
        sequence.finish_reason = "abort"
        self._listener.failed(sequence, self._clock.now())

    async def _generate(self, sequence: EngineSequence, sink: TokenSink) -> None:
        clock, draw = self._clock, sequence.draw
        due = sequence.started_at + self.latency.first_token(
            draw,
            prompt=sequence.prompt_tokens,
            cached=sequence.cached_tokens,
            is_remote=sequence.has_remote_prefill,
            load=self._load(),
            running=len(self.running),
        )
        for number in range(1, sequence.steps + 1):
            now = clock.now()
            if due > now:
                await clock.sleep_until(due)
                now = clock.now()
            elif number % TURN == 0:
                await asyncio.sleep(0)
            self._late(now - due)
            sequence.generated = number
            if number == 1:
                sequence.first_token_at = due
                self._listener.first_token(sequence, due)
            else:
                self._listener.token(sequence, due, due - sequence.last_token_at)
            sequence.last_token_at = due
            sink.token(sequence, due)
            if sink.congested:
                await sink.ready()
            due += self.latency.next_token(draw, load=self._load(), running=len(self.running))
        if not sequence.steps:  # a prefill alone
            await clock.sleep_until(due)
            sequence.last_token_at = due

    def _load(self) -> float:
        return self.latency.load(len(self.running), self.max_num_seqs)
