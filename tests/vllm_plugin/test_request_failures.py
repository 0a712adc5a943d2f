"""One request fails with a sentence; the others do not notice."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from replayproxy.vllm_plugin.request_failures import MARK, explain_failures, failing_scheduler
from tests.doubles import vllm_double
from tests.doubles.vllm_double import RequestState, Scheduler


def request(id: str, client: int = 0) -> Any:
    """One of the scheduler's."""
    return SimpleNamespace(request_id=id, client_index=client, take_events=list, trace_headers=None)


def _nobody(id: str, seconds: float) -> None:
    """Does not care when requests arrive."""


def test_arrivals_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the front end stamped them; the request is scheduled as ever."""
    vllm_double.install(monkeypatch)
    arrivals: list[tuple[str, float]] = []
    scheduler = failing_scheduler(Scheduler, lambda id, seconds: arrivals.append((id, seconds)))({})
    scheduler.add_request(SimpleNamespace(request_id="a", arrival_time=5.5))
    assert (arrivals, list(scheduler.requests)) == ([("a", 5.5)], ["a"])


def test_a_failed_request_ends_with_an_error_and_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind what the scheduler itself has to say, also to a client that gets nothing else in this step."""
    vllm_double.install(monkeypatch)
    scheduler = failing_scheduler(Scheduler, _nobody)({"a": request("a"), "b": request("b", 1), "c": request("c")})
    outputs = scheduler.update_from_output(None, SimpleNamespace(failed={"a": "who?", "b": "what?", "gone": "x"}))
    assert outputs[0].outputs[0] == "tokens"
    ended = [outputs[0].outputs[1], *outputs[1].outputs]
    assert [(one.request_id, one.finish_reason, one.stop_reason, one.new_token_ids) for one in ended] == [
        ("a", "error", f"{MARK}who?", []),
        ("b", "error", f"{MARK}what?", []),
    ]
    assert list(scheduler.requests) == ["c"]


def test_a_step_without_failures_is_the_schedulers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the output of vLLM's own class, which has no such field."""
    vllm_double.install(monkeypatch)
    scheduler = failing_scheduler(Scheduler, _nobody)({"a": request("a")})
    for output in (SimpleNamespace(), SimpleNamespace(failed={})):
        assert scheduler.update_from_output(None, output)[0].outputs == ["tokens"]


def front_end() -> Any:
    """The class that makes what a client gets."""
    return sys.modules["vllm.v1.engine.output_processor"].RequestState


def test_the_front_end_answers_404_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody waits at a queue; without one the reason is in the output, as a stop reason."""
    vllm_double.install(monkeypatch)
    explain_failures()
    explain_failures()
    queue: list[Any] = []
    state: RequestState = front_end()(queue)
    assert state.make_request_output([], None, "error", f"{MARK}who?") is None
    (error,) = queue
    assert (str(error), error.http_status) == ("replayproxy: who?", 404)
    assert front_end()(None).make_request_output([], None, "error", f"{MARK}who?") == ("output", [], f"{MARK}who?")
    assert state.make_request_output([5], None, "stop", "x", 1, 2) == ("output", [5], "x")


def test_another_vllm_keeps_its_own_words(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Where the method is gone: the reason is in the log."""
    vllm_double.install(monkeypatch)
    monkeypatch.setattr(sys.modules["vllm.v1.engine.output_processor"], "RequestState", object)
    explain_failures()
    assert "a miss is answered with 500" in caplog.text
