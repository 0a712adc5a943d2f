"""Tests of `proxy/traffic`: which labels an answer gets, that they are bounded, and what counts as an error."""

from __future__ import annotations

import pytest

from replayproxy.errors import UpstreamError, UpstreamGarbled, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import Ending
from replayproxy.proxy.answer_meter import AnswerMeter
from replayproxy.proxy.traffic import MOST_MODELS, OTHER, Traffic, endpoint_of
from replayproxy.views.access import Outcome
from tests.doubles.fakes import MILLISECOND, ManualClock


def observe(
    traffic: Traffic, made: AnswerMeter, path: str, outcome: Outcome, error: UpstreamError | None = None
) -> None:
    """Count an answer."""
    made.path, made.outcome, made.error = path, outcome, error
    traffic.count(made)


def meter(status: int = 200, model: str = "tiny", ending: Ending = Ending.COMPLETE) -> AnswerMeter:
    """An answer that was measured."""
    clock = ManualClock()
    made = AnswerMeter(clock, 0, is_live=True)
    made.status, made.model, made.ending = status, model, ending
    made.ttft_ns, made.total_ns = 30 * MILLISECOND, 400 * MILLISECOND
    made.request_bytes, made.response_bytes = 3, 5
    return made


CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "label"),
    [
        (CHAT, CHAT),
        ("/v1/models/meta/llama", "/v1/models/*"),
        ("/v1/responses/resp_123", "/v1/responses/*"),
        ("/openai/deployments/gpt/chat/completions", "*/chat/completions"),
        ("/api/llm/v1/completions", "*/completions"),
        ("/wp-admin/setup.php", OTHER),
        ("/v1/chat/completions/x", OTHER),
    ],
)
def test_a_path_is_a_label_without_what_varies(path: str, label: str) -> None:
    """Ids, mounts and the guesses of scanners make no series."""
    assert endpoint_of(path) == label


def test_an_answer_is_counted_by_outcome_endpoint_model_and_status() -> None:
    """With its times, under its model."""
    traffic = Traffic()
    observe(traffic, meter(), CHAT, Outcome.RECORDED)
    assert traffic.answers == {("recorded", CHAT, "tiny", "200"): 1}
    assert (traffic.request_bytes, traffic.response_bytes) == (3, 5)
    assert (traffic.ttft["tiny"].sum, traffic.totals["tiny"].sum) == (0.03, 0.4)
    assert sum(traffic.ttft["tiny"].counts) == sum(traffic.totals["tiny"].counts) == 1


def test_no_client_can_invent_labels() -> None:
    """Only an answer that is no error brings a new model, there are so many, and a name is short and visible."""
    traffic = Traffic()
    observe(traffic, meter(404, "guess"), CHAT, Outcome.RECORDED)
    assert [model for _, _, model, _ in traffic.answers] == [OTHER]
    for number in range(2 * MOST_MODELS):
        observe(traffic, meter(model=f"m{number}"), CHAT, Outcome.RECORDED)
    assert len({model for _, _, model, _ in traffic.answers}) == MOST_MODELS + 1
    observe(traffic, meter(404, "m0"), CHAT, Outcome.RECORDED)
    assert traffic.answers["recorded", CHAT, "m0", "404"] == 1
    fresh = Traffic()
    observe(fresh, meter(999, "\x1b[31m" + "x" * 1000), CHAT, Outcome.FORWARDED)
    observe(fresh, meter(200, "\x1b[31m" + "x" * 1000), CHAT, Outcome.FORWARDED)
    assert {status for *_, status in fresh.answers} == {"200", OTHER}
    assert all("\x1b" not in model and len(model) < 200 for _, _, model, _ in fresh.answers)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (UpstreamUnreachable("x"), "unreachable"),
        (UpstreamTimeout("x"), "timeout"),
        (UpstreamGarbled("x"), "garbled"),
        (UpstreamError("x"), "other"),
    ],
)
def test_why_there_was_no_answer(error: UpstreamError, cause: str) -> None:
    """Each cause has a series from the start, so that its first error is an increase; the status is the client's."""
    traffic = Traffic()
    assert set(traffic.upstream_errors.values()) == {0}
    observe(traffic, meter(0, "", Ending.CLIENT_LEFT), CHAT, Outcome.FAILED, error)
    assert [name for name, count in traffic.upstream_errors.items() if count] == [cause]
    assert list(traffic.answers) == [("failed", CHAT, "", str(error.status))]
    assert not traffic.totals


@pytest.mark.parametrize(
    ("measured", "cause"),
    [
        (meter(ending=Ending.UPSTREAM_CUT), "cut"),
        (meter(ending=Ending.TIMEOUT), "stalled"),
        (meter(503), "status_5xx"),
        (meter(429), None),
        (meter(ending=Ending.CLIENT_LEFT), None),
    ],
)
def test_what_went_wrong_within_an_answer(measured: AnswerMeter, cause: str | None) -> None:
    """A client that leaves and a limit of the server are no errors; nor is what a recording plays."""
    traffic = Traffic()
    observe(traffic, measured, CHAT, Outcome.RECORDED)
    assert [name for name, count in traffic.upstream_errors.items() if count] == ([cause] if cause else [])
    traffic.reset()
    observe(traffic, measured, CHAT, Outcome.REPLAYED)
    assert not any(traffic.upstream_errors.values())


def test_only_what_was_answered_has_times() -> None:
    """Refusals are quick, and would make an overloaded server look fast; a broken answer has no whole time."""
    traffic = Traffic()
    observe(traffic, meter(500), CHAT, Outcome.RECORDED)
    assert not traffic.ttft
    observe(traffic, meter(ending=Ending.UPSTREAM_CUT), CHAT, Outcome.RECORDED)
    assert (list(traffic.ttft), list(traffic.totals)) == (["tiny"], [])


def test_an_answer_is_counted_once_and_in_the_end_as_what_it_was() -> None:
    """Before the client sees its end, or when nothing more comes; a damaged recording is found after it was chosen."""
    traffic, clock = Traffic(), ManualClock()
    made = AnswerMeter(clock, 0, is_live=True, ended=traffic.count)
    made.path, made.outcome, made.status = CHAT, Outcome.REPLAYED, 200
    made.finish()
    made.finish()
    traffic.settle(made, Outcome.REPLAYED, None)
    assert traffic.answers == {("replayed", CHAT, "", "200"): 1}
    traffic.settle(made, Outcome.DAMAGED, None)
    assert +traffic.answers == {("damaged", CHAT, "", "200"): 1}
    late = AnswerMeter(clock, 0, is_live=True, ended=traffic.count)
    traffic.settle(late, Outcome.FAILED, UpstreamTimeout("x"))
    assert traffic.answers["failed", OTHER, "", "504"] == 1
