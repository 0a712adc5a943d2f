"""What a client made of one fault: a pure table from what was seen of it to a word and a sentence.

Seen are requests and closed connections; what a program does inside is not. A request that is equal to one that had a
fault, and comes after it, counts as its repetition. That a client took the beginning of an answer for all of it is seen
in two ways: the beginning stands in a later request, or the command ended well and did not ask again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from replayproxy.core.faults.delivery import is_truncating
from replayproxy.core.faults.failure_answers import may_be_retried
from replayproxy.core.faults.grammar import Fault, FaultKind

STORM_WINDOW = 1_000_000_000
"""In ns. The OpenAI SDKs wait 0.5 s before the first repetition and twice as long before each further one: 2 in 1 s."""

STORM_REQUESTS = 4
"""Repetitions within `STORM_WINDOW` after a fault that are a storm."""

EARLY = 10_000_000
"""Ns by which a repetition may come before the time of `Retry-After`: clocks of two processes and rounded timers."""


class Outcome(StrEnum):
    """What a client did."""

    RECOVERED = "recovered"
    WAITED = "waited"
    NOT_RETRIED = "not_retried"
    RETRIED_EARLY = "retried_early"
    RETRIED_FORBIDDEN = "retried_forbidden"
    STORM = "storm"
    GAVE_UP = "gave_up"
    ACCEPTED_TRUNCATED = "accepted_truncated"
    ACCEPTED_GARBAGE = "accepted_garbage"
    NO_READ_TIMEOUT = "no_read_timeout"
    NOT_REACHED = "not_reached"
    UNFINISHED = "unfinished"


MISHANDLED = frozenset(
    {
        Outcome.RETRIED_EARLY,
        Outcome.RETRIED_FORBIDDEN,
        Outcome.STORM,
        Outcome.GAVE_UP,
        Outcome.ACCEPTED_TRUNCATED,
        Outcome.ACCEPTED_GARBAGE,
        Outcome.NO_READ_TIMEOUT,
    }
)
"""What `--assert-resilient` does not accept."""

NOT_INJECTED = frozenset({Outcome.NOT_REACHED, Outcome.UNFINISHED})
"""Of these nothing can be judged."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen around one fault. Times in ns on one clock.

    `ended` is when the client had what it got, None while it has not; `left_after` how long it waited in a pause before
    it closed the connection; `retries` are the times of its repetitions, the first ones of `retry_count`.
    """

    fault: Fault
    has_fired: bool = True
    ended: int | None = 0
    left_after: int | None = None
    retries: tuple[int, ...] = ()
    retry_count: int = 0
    recovered: bool = False
    """A later repetition got a whole answer."""
    echoed: bool = False
    """A later request contains the text that the client had received."""
    command_succeeded: bool | None = None
    """Whether the client's program ended with 0; None where that is not known."""


def judge_conduct(seen: Sighting) -> tuple[Outcome, str]:
    """Apply the table."""
    fault, ended = seen.fault, seen.ended
    if ended is None:
        return Outcome.UNFINISHED, "the run ended while the answer was being sent"
    if not seen.has_fired:
        return Outcome.NOT_REACHED, f"the answer ended before {fault.text} could happen"
    again = [at - ended for at in seen.retries]
    quick = sum(delay <= STORM_WINDOW for delay in again)
    if quick >= STORM_REQUESTS:
        return Outcome.STORM, f"asked again {quick} times within {_seconds(STORM_WINDOW)}"
    if fault.kind is FaultKind.STATUS:
        return _after_status(seen, again)
    if fault.kind in (FaultKind.STALL, FaultKind.SLOW_START):
        return _after_pause(seen, again)
    if seen.echoed:
        what = Outcome.ACCEPTED_GARBAGE if fault.kind is FaultKind.GARBAGE else Outcome.ACCEPTED_TRUNCATED
        return what, "took what it had for the whole answer: it stands in a later request"
    if not again:
        return _without_retry(seen)
    return _recovery(seen, again)


def _after_status(seen: Sighting, again: list[int]) -> tuple[Outcome, str]:
    status, wait = seen.fault.status, seen.fault.retry_after
    if not may_be_retried(status):
        if not again:
            return Outcome.NOT_RETRIED, f"did not ask again, as is right after {status}"
        return Outcome.RETRIED_FORBIDDEN, f"asked again after {status}, which no repetition changes"
    if not again:
        return Outcome.GAVE_UP, f"did not ask again after {status}"
    if wait is not None and again[0] < round(wait * 1e9) - EARLY:
        return Outcome.RETRIED_EARLY, f"asked again after {_seconds(again[0])}, and Retry-After was {wait:g} s"
    return _recovery(seen, again)


def _after_pause(seen: Sighting, again: list[int]) -> tuple[Outcome, str]:
    pause = _seconds(seen.fault.pause)
    if seen.left_after is None:
        if seen.fault.kind is FaultKind.SLOW_START:
            return Outcome.WAITED, f"waited {pause} for the answer to begin"
        return Outcome.NO_READ_TIMEOUT, f"waited {pause} without a byte: it has no read time-out below that"
    left = f"left after {_seconds(seen.left_after)} without a byte"
    if not again:
        return Outcome.GAVE_UP, f"{left} and did not ask again"
    what, sentence = _recovery(seen, again)
    return what, f"{left}, then {sentence}"


def _without_retry(seen: Sighting) -> tuple[Outcome, str]:
    if seen.command_succeeded:
        if seen.fault.kind is FaultKind.GARBAGE:
            return Outcome.ACCEPTED_GARBAGE, "did not ask again, and the command ended with exit code 0"
        if is_truncating(seen.fault):
            return (
                Outcome.ACCEPTED_TRUNCATED,
                "took what it had for the whole answer: it did not ask again, and the command ended with exit code 0",
            )
    return Outcome.GAVE_UP, "did not ask again"


def _recovery(seen: Sighting, again: list[int]) -> tuple[Outcome, str]:
    if seen.recovered:
        return Outcome.RECOVERED, f"asked again after {_seconds(again[0])} and got a whole answer"
    times = "once" if seen.retry_count == 1 else f"{seen.retry_count} times"
    return Outcome.GAVE_UP, f"asked again {times} without a whole answer, then no more"


def _seconds(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    return f"{seconds:.3g} s" if seconds >= 1 or not nanoseconds else f"{seconds * 1000:.3g} ms"
