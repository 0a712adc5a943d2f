"""What an engine captures can be replayed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from replayproxy.model import Ending, Exchange
from replayproxy.vllm_plugin.capture import ENDPOINT, CapturedTokens, EngineCapture
from replayproxy.vllm_plugin.recording_index import EngineRequest
from replayproxy.vllm_plugin.token_recordings import TokenLogprob, TokenRecording, recordings_of
from tests.recordings import EPOCH

PARAMS = {"temperature": 0.0}


def capture() -> EngineCapture:
    """Token 0 is `a`."""
    return EngineCapture("tiny", lambda tokens: "".join(chr(97 + token) for token in tokens))


def captured(*tokens: int, **more: Any) -> Exchange:
    """The exchange of one request that got these, a token per millisecond, in batches of two."""
    engine = capture()
    engine.begin("x", EngineRequest((1, 2), **{"max_tokens": 5, "eos": 25, **more}), PARAMS, 1_000_000, EPOCH)
    for number, token in enumerate(tokens, 1):
        engine.step([CapturedTokens("x", [token])], number * 1_000_000, (number + 1) * 1_000_000, 2)
    (exchange,) = engine.finish(["x"], 9_000_000)
    return exchange


def test_a_captured_answer_is_a_recording_with_the_time_of_each_token() -> None:
    """Since its first step."""
    times = (1_000_000, 2_000_000, 3_000_000)
    assert recordings_of(captured(5, 6, 25), "0a1b") == [
        TokenRecording(
            (1, 2), (5, 6, 25), "stop", times=times, since_arrival=False, name="0a1b", sampling=(("temperature", 0.0),)
        )
    ]


def test_it_has_the_form_of_vllms_own_endpoint_for_token_ids() -> None:
    """Each event says how long its step took, and how many requests were in it."""
    exchange = captured(5, 25)
    assert (exchange.request.method, exchange.request.target) == ("POST", ENDPOINT)
    assert orjson.loads(exchange.request.body) == {
        "request_id": "x",
        "model": "tiny",
        "token_ids": [1, 2],
        "sampling_params": PARAMS,
        "stream": True,
    }
    events = [part.removeprefix(b"data: ") for part in exchange.response.body.split(b"\n\n") if part]
    assert events.pop() == b"[DONE]"
    counts = {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert orjson.loads(events.pop()) == {"choices": [], "usage": counts}
    choice = {"index": 0, "token_ids": [25], "finish_reason": "stop", "stop_reason": None}
    assert orjson.loads(events[-1]) == {"request_id": "x", "choices": [choice], "step": {"ms": 1.0, "batch": 2}}
    assert (exchange.recorded_at, exchange.response.ending, exchange.client_left) == (EPOCH, Ending.COMPLETE, False)


@pytest.mark.parametrize(
    ("tokens", "more", "finish", "stop_reason"),
    [
        ((5, 25), {}, "stop", None),
        ((5, 7), {"stop": frozenset({7, 25})}, "stop", 7),
        ((5, 6, 5, 6, 5), {}, "length", None),
        ((5, 6), {"stop": frozenset({"fg", "z"})}, "stop", "fg"),
        ((5, 6), {"stop": frozenset({"g", "f"})}, "stop", "f"),
        ((5, 6), {"stop": frozenset({"z"})}, None, None),
        ((5, 6), {}, None, None),
        ((), {}, None, None),
    ],
)
def test_why_it_ended_follows_from_its_last_tokens(
    tokens: tuple[int, ...], more: dict[str, Any], finish: str | None, stop_reason: object
) -> None:
    """The engine is not told; what ended in no such way was aborted by its client, and is not replayed."""
    exchange = captured(*tokens, **more)
    found = recordings_of(exchange)
    assert [(one.finish, one.stop_reason) for one in found] == ([(finish, stop_reason)] if tokens else [])
    assert exchange.response.ending is (Ending.CLIENT_LEFT if finish is None else Ending.COMPLETE)


def test_logprobs_adapter_and_media_are_kept() -> None:
    """By ids."""
    engine = capture()
    engine.begin("x", EngineRequest((1,), 1, lora="poet", media=("h",)), PARAMS, 0, EPOCH)
    engine.step([CapturedTokens("x", [7], [[(7, -0.5), (8, -2.0)]])], 0, 1000, 1)
    (exchange,) = engine.finish(["x"], 2000)
    (found,) = recordings_of(exchange, served=frozenset({"tiny"}))
    assert (found.lora, found.media) == ("poet", ("h",))
    assert found.logprobs == ((TokenLogprob(7, -0.5), TokenLogprob(8, -2.0)),)


def test_a_preempted_request_is_one_exchange() -> None:
    """It begins twice; a chunk of its prefill gives nothing; whoever is not known is not captured."""
    engine = capture()
    for _ in range(2):
        engine.begin("x", EngineRequest((1,), 2, eos=25), PARAMS, 0, EPOCH)
        engine.step([CapturedTokens("x", []), CapturedTokens("y", [1])], 0, 5, 2)
        engine.step([CapturedTokens("x", [7])], 5, 10, 1)
    assert engine.running == ["x"]
    (exchange,) = engine.finish(["x", "y"], 20)
    assert [found.tokens for found in recordings_of(exchange)] == [(7, 7)]
    assert engine.running == []
