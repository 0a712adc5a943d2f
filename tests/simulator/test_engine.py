"""Tests of `simulator/engine`: who runs, who waits, when tokens are due, and who is told."""

from __future__ import annotations

import asyncio
import random

import pytest

from replayproxy.simulator.engine import Engine, QueueFull
from replayproxy.simulator.latency import Latency
from replayproxy.simulator.listeners import Admission
from replayproxy.simulator.sequence import EngineSequence
from tests.doubles.simulation import MS, EventLog
from tests.doubles.virtual_clock import VirtualClock

SLOW = Latency(ttft=100 * MS, itl=10 * MS)


class Sink:
    """Takes every token; `holds` ns the client is too slow after each."""

    congested = False

    def token(self, sequence: EngineSequence, at: int) -> None:
        """Nothing is kept."""

    async def ready(self) -> None:
        """Never called."""


class SlowReader(Sink):
    """A client that takes a second for each token."""

    congested = True

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    async def ready(self) -> None:
        """Take a second."""
        await self._clock.sleep_until(self._clock.now() + 1000 * MS)


def sequence(name: str, steps: int = 2, index: int = 0, prompt: int = 4, adapter: str | None = None) -> EngineSequence:
    """One of a model."""
    return EngineSequence(
        name, index, "tiny", list(range(prompt)), steps, random.Random(1), adapter=adapter, finish_reason="stop"
    )


def play(engine: Engine, clock: VirtualClock, arrivals: list[tuple[int, list[EngineSequence]]]) -> None:
    """Run requests that come at these ms."""

    async def one(at: int, sequences: list[EngineSequence]) -> None:
        await clock.sleep_until(at * MS)
        engine.accept(sequences, at * MS)
        await engine.run(sequences, Sink(), at * MS)

    async def everyone() -> None:
        await asyncio.gather(*[one(at, sequences) for at, sequences in arrivals])

    asyncio.run(clock.run(everyone()))


def test_one_sequence_is_told_of_in_order() -> None:
    """Accepted and started at once; the first token after the TTFT, each later one after the ITL."""
    clock, log = VirtualClock(), EventLog()
    play(Engine(clock, SLOW, listeners=[log]), clock, [(5, [sequence("a", 3)])])
    assert log.lines == [
        "5 a0 accepted", "5 a0 started", "105 a0 first", "115 a0 token +10", "125 a0 token +10", "125 a0 finished stop",
    ]  # fmt: skip


def test_more_than_max_num_seqs_wait_in_their_order() -> None:
    """The next one starts when one has ended, at the time at which that was due."""
    clock, log = VirtualClock(), EventLog()
    engine = Engine(clock, SLOW, max_num_seqs=1, listeners=[log])
    play(engine, clock, [(0, [sequence("a")]), (1, [sequence("b")]), (2, [sequence("c")])])
    told = [line for line in log.lines if "token" not in line and "first" not in line]
    assert told == [
        "0 a0 accepted", "0 a0 started", "1 b0 accepted", "1 b0 queued", "2 c0 accepted", "2 c0 queued",
        "110 b0 started", "110 a0 finished stop", "220 c0 started", "220 b0 finished stop", "330 c0 finished stop",
    ]  # fmt: skip
    assert (engine.running, engine.waiting) == ([], [])


def test_a_full_queue_rejects_before_anything_starts() -> None:
    """One runs, one waits; the third, and a request of two, get nothing."""
    clock, log = VirtualClock(), EventLog()
    engine = Engine(clock, SLOW, max_num_seqs=1, max_waiting=1, listeners=[log])

    async def story() -> None:
        tasks = []
        for name in "ab":
            one = [sequence(name)]
            engine.accept(one, 0)
            tasks.append(asyncio.create_task(engine.run(one, Sink(), 0)))
            await asyncio.sleep(0)
        for refused in ([sequence("c")], [sequence("d"), sequence("d", index=1)]):
            with pytest.raises(QueueFull):
                engine.accept(refused, 0)
        assert [waiting.request_id for waiting in engine.waiting] == ["b"]
        await asyncio.gather(*tasks)

    asyncio.run(clock.run(story()))
    assert [line for line in log.lines if "rejected" in line] == ["0 c0 rejected", "0 d0 rejected", "0 d1 rejected"]
    assert sum("finished" in line for line in log.lines) == 2


def test_choices_of_a_request_run_side_by_side() -> None:
    """Each takes a place in the running set, and the request ends with the last."""
    clock, log = VirtualClock(), EventLog()
    engine = Engine(clock, SLOW, max_num_seqs=2, listeners=[log])
    play(engine, clock, [(0, [sequence("a", 2), sequence("a", 4, index=1), sequence("a", 1, index=2)])])
    assert [line for line in log.lines if "started" in line] == ["0 a0 started", "0 a1 started", "110 a2 started"]
    assert log.lines[-1] == "210 a2 finished stop"


def test_deadlines_are_absolute() -> None:
    """A client that holds a stream up does not move the deadlines of what follows."""
    clock, log = VirtualClock(), EventLog()
    engine = Engine(clock, SLOW, listeners=[log])

    async def story() -> None:
        await engine.run([sequence("a", 3)], SlowReader(clock), 0)

    asyncio.run(clock.run(story()))
    assert [line for line in log.lines if "token" in line] == ["110 a0 token +10", "120 a0 token +10"]
    assert clock.now() == 3100 * MS


def test_lateness_is_counted() -> None:
    """By how much the clock had passed each deadline."""
    clock, late = VirtualClock(), list[int]()
    engine = Engine(clock, SLOW, late=late.append)

    async def story() -> None:
        await engine.run([sequence("a", 3)], SlowReader(clock), 0)

    asyncio.run(clock.run(story()))
    assert [ns / MS for ns in late] == [0, 990, 1980]


def test_a_client_that_leaves_makes_room() -> None:
    """Whether it ran or waited: the one behind starts, and `abort` is told."""
    clock, log = VirtualClock(), EventLog()
    engine = Engine(clock, SLOW, max_num_seqs=1, listeners=[log])

    async def story() -> None:
        tasks = [asyncio.create_task(engine.run([sequence(name)], Sink(), 0)) for name in "abc"]
        await clock.sleep_until(50 * MS)
        tasks[1].cancel()
        tasks[0].cancel()
        await asyncio.wait(tasks)

    asyncio.run(clock.run(story()))
    ends = [line for line in log.lines if "accepted" not in line and "queued" not in line]
    assert sorted(ends[:4]) == ["0 a0 started", "50 a0 failed abort", "50 b0 failed abort", "50 c0 started"]
    assert ends[4:] == ["150 c0 first", "160 c0 token +10", "160 c0 finished stop"]
    assert engine.running == []


def test_load_is_that_of_each_token() -> None:
    """Twice as slow when full: the second sequence slows both, and from its end on the first is fast again."""
    clock, log = VirtualClock(), EventLog()
    latency = Latency(ttft=100 * MS, itl=10 * MS, time_factor=2.0)
    play(
        Engine(clock, latency, max_num_seqs=2, listeners=[log]),
        clock,
        [(0, [sequence("a", 26)]), (100, [sequence("b", 1)])],
    )
    gaps = [line.split("+")[1] for line in log.lines if "a0 token" in line]
    assert (gaps.count("10"), gaps.count("20")) == (16, 9) or (gaps.count("10"), gaps.count("20")) == (15, 10)
    assert "300 b0 first" in log.lines


class Slots:
    """A rule of admission with so many places for each adapter; `blocks`: nobody overtakes."""

    def __init__(self, blocks: bool) -> None:
        self._verdict = Admission.BLOCKED if blocks else Admission.SKIPPED
        self.held: list[str] = []

    def admit(self, sequence: EngineSequence) -> Admission:
        """One sequence with an adapter at a time."""
        if sequence.adapter is not None and self.held:
            return self._verdict
        if sequence.adapter is not None:
            self.held.append(sequence.adapter)
        sequence.cached_tokens = 3
        return Admission.ADMITTED

    def release(self, sequence: EngineSequence) -> None:
        """Give the place back."""
        if sequence.adapter is not None:
            self.held.remove(sequence.adapter)


@pytest.mark.parametrize(("blocks", "order"), [(False, ["a", "c", "b"]), (True, ["a", "b", "c"])])
def test_rules_of_admission_decide_who_may_overtake(blocks: bool, order: list[str]) -> None:
    """b wants the only slot, which a has. SKIPPED: c starts before it. BLOCKED: c waits too."""
    clock, log = VirtualClock(), EventLog()
    rule = Slots(blocks)
    engine = Engine(clock, SLOW, max_num_seqs=8, listeners=[log], rules=[rule])
    arrivals = [(0, [sequence("a", adapter="x")]), (1, [sequence("b", adapter="y")]), (2, [sequence("c")])]
    play(engine, clock, arrivals)
    assert [line.split()[1][0] for line in log.lines if "started" in line] == order
    assert rule.held == []


def test_cached_tokens_shorten_a_prefill() -> None:
    """By their share of the prompt: one token is left of four."""
    clock, log = VirtualClock(), EventLog()
    latency = Latency(prefill_overhead=5 * MS, prefill_per_token=10 * MS)
    engine = Engine(clock, latency, listeners=[log], rules=[Slots(False)])
    play(engine, clock, [(0, [sequence("a")])])
    assert "15 a0 first" in log.lines


def test_what_an_earlier_rule_gave_is_given_back() -> None:
    """When a later one has no room."""

    class Never:
        """Has no room until `opens`."""

        opens = False

        def admit(self, sequence: EngineSequence) -> Admission:
            """Not yet."""
            return Admission.ADMITTED if self.opens else Admission.BLOCKED

        def release(self, sequence: EngineSequence) -> None:
            """Nothing was taken."""

    clock, slots, never = VirtualClock(), Slots(False), Never()
    engine = Engine(clock, SLOW, rules=[slots, never])

    async def story() -> None:
        task = asyncio.create_task(engine.run([sequence("a", adapter="x")], Sink(), 0))
        await asyncio.sleep(0)
        assert (slots.held, len(engine.waiting)) == ([], 1)
        task.cancel()
        await asyncio.wait([task])
        assert engine.waiting == []

    asyncio.run(clock.run(story()))


def test_a_prefill_without_tokens_takes_its_time() -> None:
    """No token, and yet the prefill."""
    clock, log = VirtualClock(), EventLog()
    play(Engine(clock, SLOW, listeners=[log]), clock, [(0, [sequence("a", 0)])])
    assert log.lines[-1] == "100 a0 finished stop"
