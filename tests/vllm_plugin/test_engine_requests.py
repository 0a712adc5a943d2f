"""What a step answers: one rule for chunked prefill, hits of the prefix cache and preemption."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replayproxy.vllm_plugin.allowed_tokens import AllowedTokens
from replayproxy.vllm_plugin.engine_requests import ChooseSource, EngineRequests, ScheduledRequest, TokenRow
from replayproxy.vllm_plugin.recording_index import EngineMiss, EngineRequest
from replayproxy.vllm_plugin.token_recordings import TokenLogprob, TokenRecording
from replayproxy.vllm_plugin.token_sources import RecordedTokens, TokenSource

PROMPT = tuple(range(40))
LOGPROBS = (TokenLogprob(5, -1.0),)
RECORDING = TokenRecording(PROMPT, (5, 6, 7), "stop", times=(30, 40, 50), logprobs=(LOGPROBS,) * 3)


def choose(request: EngineRequest) -> TokenSource | EngineMiss:
    """One prompt is known."""
    return RecordedTokens(RECORDING, 99) if request.prompt == PROMPT else EngineMiss("who?")


def always(recording: TokenRecording) -> ChooseSource:
    """The same recording for every request."""
    return lambda _: RecordedTokens(recording, 99)


def running(speed: float | None = None, **more: object) -> EngineRequests:
    """One request, `a`, since 1000 ns."""
    requests = EngineRequests(choose, speed=speed)
    requests.begin("a", EngineRequest(PROMPT, **more), 1000)  # type: ignore[arg-type]  # fields by name
    return requests


@pytest.mark.parametrize(
    ("computed", "scheduled", "produced", "tokens"),
    [
        (0, 40, 0, [5]),  # the whole prompt at once
        (0, 16, 0, []),  # a chunk of it
        (16, 16, 0, []),
        (32, 8, 0, [5]),  # its last chunk
        (32, 7, 0, []),
        (39, 1, 0, [5]),  # a hit of the prefix cache: all but the last token
        (40, 1, 1, [6]),  # decoding
        (41, 1, 2, [7]),
        (42, 1, 3, [99]),  # the end
        (0, 41, 1, [6]),  # preempted after one token, and computed again
        (0, 40, 1, []),  # the same in chunks
    ],
)
def test_a_request_gets_a_token_when_its_last_known_token_is_computed(
    computed: int, scheduled: int, produced: int, tokens: list[int]
) -> None:
    """And not before."""
    answer = running().step([ScheduledRequest("a", computed, scheduled, produced)])
    assert (answer.rows, answer.failed) == ([TokenRow("a", tokens)], {})


def test_a_preempted_request_keeps_its_recording() -> None:
    """vLLM's second model runner announces it anew."""
    requests = running()
    requests.begin("a", EngineRequest((7,)), 5000)
    assert requests.step([ScheduledRequest("a", 0, 41, 1)]).rows == [TokenRow("a", [6])]
    requests.finish(["a", "nobody"])
    assert len(requests) == 0


def test_a_miss_fails_its_own_request_at_its_first_step() -> None:
    """Also while its prompt is computed in chunks; the others get their tokens."""
    requests = running()
    requests.begin("b", EngineRequest((1, 2, 3)), 1000)
    answer = requests.step([ScheduledRequest("b", 0, 1, 0), ScheduledRequest("a", 0, 40, 0)])
    assert answer.failed == {"b": "who?"}
    assert answer.rows == [TokenRow("b", []), TokenRow("a", [5])]
    requests.finish(["b"])
    assert requests.step([ScheduledRequest("b", 0, 1, 0)]).failed == {}


def test_what_cannot_be_answered_at_all_fails_likewise() -> None:
    """No recording is taken for it."""
    requests = EngineRequests(choose)
    requests.begin("a", EngineRequest(PROMPT, unsupported="no such thing"), 0)
    assert requests.step([ScheduledRequest("a", 0, 40, 0)]).failed == {"a": "no such thing"}


def test_a_grammar_that_refuses_a_recorded_token_fails_the_request() -> None:
    """With the words of the source."""
    answer = running().step([ScheduledRequest("a", 0, 40, 0)], {"a": AllowedTokens([1])})
    assert "the grammar of this request does not admit" in answer.failed["a"]
    assert answer.rows == [TokenRow("a", [])]
    assert running().step([ScheduledRequest("a", 0, 40, 0)], {"b": AllowedTokens([1])}).failed == {}


def test_logprobs_come_for_those_who_ask() -> None:
    """With how many alternatives."""
    assert running(logprobs=2).step([ScheduledRequest("a", 0, 40, 0)]).rows == [TokenRow("a", [5], LOGPROBS, 2, [])]
    assert running(logprobs=2).step([ScheduledRequest("a", 41, 1, 2)]).rows == [TokenRow("a", [7], LOGPROBS, 2, [5, 6])]
    assert running(logprobs=2).step([ScheduledRequest("a", 0, 4, 0)]).rows == [TokenRow("a", [])]


def test_a_step_ends_with_the_slowest_of_its_requests() -> None:
    """Counted from each one's first step. A chunk of a prefill has no time of its own, nor has what is not timed."""
    requests = running(speed=1.0)
    requests.begin("b", EngineRequest(PROMPT), 1015)
    both = [ScheduledRequest("a", 40, 1, 1), ScheduledRequest("b", 0, 40, 0)]
    assert requests.step(both).ends_at == 1015 + 30
    assert requests.step(both[:1]).ends_at == 1000 + 40
    assert requests.step([ScheduledRequest("a", 0, 16, 0)]).ends_at == 0
    assert running().step(both[:1]).ends_at == 0
    assert running(speed=2.0).step(both[:1]).ends_at == 1000 + 20


def test_a_client_s_times_count_from_the_arrival() -> None:
    """A request that waited in the queue owes less of its time to first token; a capture counts from the first step."""
    first = [ScheduledRequest("a", 0, 40, 0)]
    for arrived_at, since_arrival, ends_at in ((990, True, 1020), (990, False, 1030), (None, True, 1030)):
        recording = replace(RECORDING, since_arrival=since_arrival)
        requests = EngineRequests(always(recording), speed=1.0)
        requests.begin("a", EngineRequest(PROMPT), 1000, arrived_at)
        assert requests.step(first).ends_at == ends_at


def test_a_late_step_still_takes_half_of_its_gap() -> None:
    """The longest of the batch; the first token of a request has no gap before it."""
    requests = running(speed=1.0)
    requests.begin("b", EngineRequest(PROMPT), 1015)
    both = [ScheduledRequest("a", 40, 1, 1), ScheduledRequest("b", 0, 40, 0)]
    assert requests.step(both).lasts == 5
    assert running(speed=0.5).step(both[:1]).lasts == 10
    assert running().step(both[:1]).lasts == 0
