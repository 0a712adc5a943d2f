"""What became of each request of a run, and of the run.

    RequestResult, … ──▶ RunSummary ──▶ verdict and exit code

Times of a request are ns since the start of the run. "As the server sees it" counts from the last byte of the request;
"as the user sees it" from when the request should have been sent, so that a late driver cannot hide a slow server
(coordinated omission).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from replayproxy.core.stats import Summary, summarise
from replayproxy.drive.marks import AnswerTimes
from replayproxy.drive.plan import PlannedRequest

NOTED_LATENESS = 10_000_000
"""ns of lateness (p99) from which on people are warned."""


class Outcome(StrEnum):
    """What became of a request."""

    OK = "ok"
    HTTP_ERROR = "http_error"
    UNREACHABLE = "unreachable"
    PROTOCOL_ERROR = "protocol_error"
    TIMEOUT = "timeout"
    TRUNCATED = "truncated"
    CANCELLED = "cancelled"
    NOT_SENT = "not_sent"


FAILED = (Outcome.HTTP_ERROR, Outcome.UNREACHABLE, Outcome.PROTOCOL_ERROR, Outcome.TIMEOUT, Outcome.TRUNCATED)


@dataclass(slots=True)
class RequestResult:
    """One request. `scheduled`: when the plan had it; `eligible`: when its predecessor allowed it."""

    planned: PlannedRequest
    outcome: Outcome = Outcome.NOT_SENT
    reason: str = ""
    scheduled: int | None = None
    eligible: int | None = None
    dispatched: int | None = None
    sent: int | None = None
    waited: int = 0
    """ns of waiting for one of `--max-in-flight`."""
    answer: AnswerTimes = field(default_factory=AnswerTimes)
    kept_history: int = 0
    """Recorded answers that stayed in its history, with live ones."""

    @property
    def due(self) -> int | None:
        """When it should have been sent."""
        times = [time for time in (self.scheduled, self.eligible) if time is not None]
        return max(times, default=None)

    @property
    def lateness(self) -> int | None:
        """By how much the driver was late, without the wait for `--max-in-flight`."""
        if self.dispatched is None or self.due is None:
            return None
        return max(0, self.dispatched - self.due - self.waited)

    @property
    def is_failure(self) -> bool:
        """Whether it failed although its recording did not, or in another way than by a status."""
        if self.outcome is Outcome.HTTP_ERROR:
            return self.planned.turn.was_answered
        return self.outcome in FAILED

    def fields(self) -> dict[str, Any]:
        """As data: one row, times in seconds."""
        answer, sent = self.answer, self.sent

        def since_start(mark: int | None) -> float | None:
            return None if mark is None or sent is None else (sent + mark) / 1e9

        def seconds(value: float | None) -> float | None:
            return None if value is None else value / 1e9

        turn = self.planned.turn
        due = self.due
        return {
            "source": turn.id,
            "loop": self.planned.loop,
            "session": self.planned.session,
            "turn": self.planned.number,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "status": answer.status,
            "scheduled_s": seconds(self.scheduled),
            "eligible_s": seconds(self.eligible),
            "dispatched_s": seconds(self.dispatched),
            "sent_s": seconds(sent),
            "first_byte_s": since_start(answer.first_byte),
            "first_event_s": since_start(answer.first_event),
            "first_content_s": since_start(answer.first_content),
            "last_content_s": since_start(answer.last_content),
            "end_s": since_start(answer.end),
            "lateness_s": seconds(self.lateness),
            "waited_s": seconds(self.waited),
            "ttft_s": seconds(answer.first_content),
            "tpot_s": seconds(answer.tpot),
            "total_s": seconds(answer.end),
            "user_total_s": None
            if answer.end is None or sent is None or due is None
            else (sent + answer.end - due) / 1e9,
            "chunks": answer.chunks,
            "mean_gap_s": seconds(answer.mean_gap),
            "max_gap_s": seconds(answer.max_gap),
            "prompt_tokens": answer.prompt_tokens,
            "output_tokens": answer.output_tokens,
            "cached_tokens": answer.cached_tokens,
            "recorded_ttft_s": seconds(turn.ttft),
            "recorded_total_s": seconds(turn.took),
        }


@dataclass(frozen=True, slots=True)
class TimeRow:
    """One measure: as recorded, and now, of the requests that were answered on both sides. ns."""

    name: str
    recorded: Summary | None
    now: Summary | None

    @property
    def ratio(self) -> float | None:
        """Median now to median recorded."""
        if self.recorded is None or self.now is None or not self.recorded.p50:
            return None
        return self.now.p50 / self.recorded.p50


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What became of a run. `took`: ns from the start to the end of the last answer."""

    planned: int
    outcomes: Counter[Outcome]
    failures: int
    reasons: Counter[str]
    took: int
    lateness: Summary | None
    connecting: Summary | None
    waiting: Summary | None
    times: tuple[TimeRow, ...]
    output_tokens: int
    most_in_flight: int
    kept_history: int
    interrupted: bool
    lost: int
    """Answers that could not be recorded."""
    bound: int
    """ns of lateness (p99) above which the driver was the bottleneck."""

    @property
    def sent(self) -> int:
        """Requests that were sent."""
        return self.planned - self.outcomes[Outcome.NOT_SENT]

    @property
    def is_late(self) -> bool:
        """Whether the driver was the bottleneck."""
        return self.lateness is not None and self.lateness.p99 > self.bound

    @property
    def verdict(self) -> tuple[int, str]:
        """The exit code, and why."""
        answered = sum(self.outcomes[one] for one in (Outcome.OK, Outcome.HTTP_ERROR, Outcome.CANCELLED))
        if not answered:
            return 7, "no request was answered"
        if self.interrupted:
            return 9, "the run was interrupted"
        if self.outcomes[Outcome.NOT_SENT]:
            return 9, f"{self.outcomes[Outcome.NOT_SENT]} of {self.planned} requests were not sent"
        if self.lost:
            return 9, f"{self.lost} answers were not recorded"
        if self.is_late:
            return 9, "the driver was late: it was the bottleneck, and its times say little about the server"
        if self.failures:
            return 1, f"{self.failures} of {self.planned} requests failed that had not failed when they were recorded"
        return 0, "every request was sent and answered"


def summary_of(
    results: Sequence[RequestResult], *, most_in_flight: int, interrupted: bool, lost: int, bound: int
) -> RunSummary:
    """Sum up a run."""
    ends = [one.sent + (one.answer.end or 0) for one in results if one.sent is not None]
    return RunSummary(
        planned=len(results),
        outcomes=Counter(one.outcome for one in results),
        failures=sum(one.is_failure for one in results),
        reasons=Counter(one.reason for one in results if one.reason),
        took=max(ends, default=0),
        lateness=_summary(results, lambda one: one.lateness),
        connecting=_summary(
            results, lambda one: None if one.sent is None or one.dispatched is None else one.sent - one.dispatched
        ),
        waiting=summarise(one.waited for one in results if one.waited),
        times=tuple(_time_rows(results)),
        output_tokens=sum(one.answer.output_tokens or 0 for one in results),
        most_in_flight=most_in_flight,
        kept_history=sum(one.kept_history for one in results),
        interrupted=interrupted,
        lost=lost,
        bound=bound,
    )


def _summary(results: Iterable[RequestResult], of: Callable[[RequestResult], float | None]) -> Summary | None:
    return summarise(value for one in results if (value := of(one)) is not None)


def _time_rows(results: Sequence[RequestResult]) -> Iterable[TimeRow]:
    both = [one for one in results if one.outcome is Outcome.OK and one.planned.turn.was_answered]
    rows: tuple[tuple[str, Callable[[RequestResult], float | None], Callable[[RequestResult], float | None]], ...] = (
        ("TTFT", lambda one: one.planned.turn.ttft, lambda one: one.answer.first_content),
        ("TPOT", lambda one: one.planned.turn.tpot, lambda one: one.answer.tpot),
        ("Total", lambda one: one.planned.turn.took, lambda one: one.answer.end),
    )
    for name, before, now in rows:
        pairs = [
            (first, second) for one in both if (first := before(one)) is not None and (second := now(one)) is not None
        ]
        yield TimeRow(name, summarise(first for first, _ in pairs), summarise(second for _, second in pairs))
    yield TimeRow("Mean gap", None, _summary(both, lambda one: one.answer.mean_gap))


def summary_fields(summary: RunSummary) -> dict[str, Any]:
    """As data; times in seconds."""

    def seconds(one: Summary | None) -> dict[str, float] | None:
        if one is None:
            return None
        return {"n": one.n, **{name: getattr(one, name) / 1e9 for name in ("p50", "p90", "p95", "p99", "max", "mean")}}

    code, why = summary.verdict
    return {
        "exit_code": code,
        "verdict": why,
        "planned": summary.planned,
        "sent": summary.sent,
        "outcomes": {outcome.value: summary.outcomes[outcome] for outcome in Outcome},
        "failures": summary.failures,
        "reasons": dict(summary.reasons.most_common(20)),
        "took_s": summary.took / 1e9,
        "output_tokens": summary.output_tokens,
        "most_in_flight": summary.most_in_flight,
        "lateness_s": seconds(summary.lateness),
        "connecting_s": seconds(summary.connecting),
        "waiting_s": seconds(summary.waiting),
        "kept_history": summary.kept_history,
        "not_recorded": summary.lost,
        "times": [
            {"name": row.name, "recorded_s": seconds(row.recorded), "now_s": seconds(row.now), "ratio": row.ratio}
            for row in summary.times
        ],
    }
