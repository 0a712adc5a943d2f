"""The verdict on a run as a table, lateness, and rows as data."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.drive.marks import AnswerTimes
from replayproxy.drive.plan import PlannedRequest
from replayproxy.drive.results import Outcome, RequestResult, RunSummary, summary_fields, summary_of
from tests.doubles.driving import MS, turn


def result(
    outcome: Outcome = Outcome.OK, *, late: int = 0, sent: bool = True, status: int = 200, **more: Any
) -> RequestResult:
    """A request that was due at 100 ms; times in ms."""
    answer = AnswerTimes(status=status, first_content=20 * MS, last_content=60 * MS, end=70 * MS, output_tokens=5)
    one = RequestResult(PlannedRequest(0, turn(1, ttft=10 * MS, **more), 0, "s", 0, 100 * MS), outcome)
    one.scheduled = 100 * MS
    if sent:
        one.dispatched, one.sent, one.answer = (100 + late) * MS, (101 + late) * MS, answer
    return one


def summary(*results: RequestResult, **more: Any) -> RunSummary:
    """Of these."""
    return summary_of(results, **{"most_in_flight": 1, "interrupted": False, "lost": 0, "bound": 50 * MS, **more})


@pytest.mark.parametrize(
    ("results", "more", "code", "words"),
    [
        ([result()], {}, 0, "every request"),
        ([result(Outcome.CANCELLED)], {}, 0, "every request"),
        ([result(Outcome.HTTP_ERROR, status=400)], {}, 1, "1 of 1 requests failed"),
        ([result(Outcome.HTTP_ERROR, status=400)] * 2 + [result()], {}, 1, "2 of 3"),
        ([result(Outcome.TRUNCATED), result()], {}, 1, "1 of 2"),
        ([result(Outcome.NOT_SENT, sent=False), result()], {}, 9, "1 of 2 requests were not sent"),
        ([result(late=60)], {}, 9, "bottleneck"),
        ([result()], {"lost": 2}, 9, "2 answers were not recorded"),
        ([result()], {"interrupted": True}, 9, "interrupted"),
        ([result(Outcome.UNREACHABLE)], {}, 7, "no request was answered"),
        ([result(Outcome.NOT_SENT, sent=False)], {"interrupted": True}, 7, "no request was answered"),
    ],
)
def test_the_verdict(results: list[RequestResult], more: dict[str, Any], code: int, words: str) -> None:
    """What counts most comes first."""
    found = summary(*results, **more).verdict
    assert found[0] == code
    assert words in found[1]


def test_an_error_that_was_recorded_is_not_a_failure() -> None:
    """A request that is refused again is what it was."""
    assert summary(result(Outcome.HTTP_ERROR, status=400), result()).failures == 1
    refused = result(Outcome.HTTP_ERROR)
    refused.planned = PlannedRequest(0, turn(1, status=400), 0, "s", 0, 0)
    assert summary(refused, result()).verdict[0] == 0


def test_lateness_counts_from_when_the_request_could_be_sent() -> None:
    """The later of its time and its predecessor's end; a wait for --max-in-flight is apart."""
    one = result(late=30)
    assert one.lateness == 30 * MS
    one.eligible = 120 * MS
    assert one.lateness == 10 * MS
    one.waited = 4 * MS
    assert one.lateness == 6 * MS
    assert result(sent=False).lateness is None


def test_times_are_compared_in_pairs() -> None:
    """Only of answers that were well on both sides; in seconds as data."""
    found = summary(result(), result(Outcome.TIMEOUT), result(status=200, ending="upstream_cut"))
    ttft, tpot, total, gap = found.times
    assert (ttft.name, ttft.ratio, ttft.now.n if ttft.now else 0) == ("TTFT", 2.0, 1)
    assert (tpot.now, total.ratio, gap.recorded) == (None, 0.7, None)
    fields = summary_fields(found)
    assert fields["times"][0]["now_s"]["p50"] == 0.02
    assert fields["outcomes"]["timeout"] == 1
    row = result(late=10).fields()
    assert (row["sent_s"], row["first_content_s"], row["ttft_s"], row["lateness_s"]) == (0.111, 0.131, 0.02, 0.01)
    assert row["user_total_s"] == pytest.approx(0.081)
    assert row["tpot_s"] == pytest.approx(0.01)
