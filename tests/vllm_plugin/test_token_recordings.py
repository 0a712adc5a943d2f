"""Token ids out of answers of each form, and out of lines."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from replayproxy.core.dialects.sse import encode
from replayproxy.model import Exchange
from replayproxy.vllm_plugin.token_recordings import TokenLogprob, TokenRecording, recording_of_line, recordings_of
from tests.recordings import JSON, asked, exchange, said

COMPLETIONS = "/v1/completions"


def streamed(*events: dict[str, Any], path: str = "/v1/chat/completions", **more: Any) -> Exchange:
    """An exchange with these events, the first one after 10 ms."""
    chunks = [encode(orjson.dumps(event)) for event in events]
    return exchange(asked("a", path, stream=True, **more), said([*chunks, encode(b"[DONE]")]))


def whole(answer: dict[str, Any], path: str = "/v1/chat/completions", status: int = 200, **more: Any) -> Exchange:
    """An exchange that was not streamed."""
    return exchange(asked("a", path, **more), said([orjson.dumps(answer)], headers=JSON, status=status))


def choice(index: int = 0, **more: Any) -> dict[str, Any]:
    """One of an answer."""
    return {"index": index, **more}


STEP = 1_234_567
"""Between two chunks of `said`, in ns."""


def test_a_streamed_chat_has_a_time_per_token() -> None:
    """The prompt is in the first event; several tokens of an event came together."""
    recorded = streamed(
        {"prompt_token_ids": [1, 2, 3], "choices": [choice(delta={"role": "assistant"})]},
        {"choices": [choice(delta={"content": "a"}, token_ids=[7])]},
        {"choices": [choice(delta={"content": "bc"}, token_ids=[8, 9], finish_reason="stop", stop_reason=None)]},
        {"choices": [], "usage": {}},
    )
    times = tuple(10_000_000 + STEP * number for number in (1, 2, 2))
    assert recordings_of(recorded, "0a1b") == [TokenRecording((1, 2, 3), (7, 8, 9), "stop", times=times, name="0a1b")]


def test_each_choice_is_a_recording() -> None:
    """In the order of their numbers, whatever the order of their events."""
    recorded = streamed(
        {"prompt_token_ids": [1], "choices": []},
        {"choices": [choice(1, token_ids=[21])]},
        {"choices": [choice(0, token_ids=[11])]},
        {"choices": [choice(0, token_ids=[12], finish_reason="length")]},
        {"choices": [choice(1, token_ids=[], finish_reason="stop", stop_reason="x")]},
    )
    found = recordings_of(recorded, "0a1b")
    assert [(one.tokens, one.finish, one.stop_reason, one.name) for one in found] == [
        ((11, 12), "length", None, "0a1b choice 0"),
        ((21,), "stop", "x", "0a1b choice 1"),
    ]


def test_an_answer_at_once_has_one_time() -> None:
    """When it ended: its tokens came no later."""
    (found,) = recordings_of(
        whole({"prompt_token_ids": [1], "choices": [choice(token_ids=[5, 6], finish_reason="stop")]})
    )
    assert (found.prompt, found.tokens, set(found.times)) == ((1,), (5, 6), {found.times[0]})


@pytest.mark.parametrize("in_stream", [False, True])
def test_prompts_of_a_batch_are_told_apart(in_stream: bool) -> None:
    """A completion with several prompts names each with its choices; a choice without one is nobody's."""
    choices = [
        choice(0, prompt_token_ids=[1], token_ids=[11], finish_reason="stop"),
        choice(1, prompt_token_ids=[2], token_ids=[12], finish_reason="stop"),
        choice(2, token_ids=[13], finish_reason="stop"),
    ]
    answer = (
        streamed(*({"choices": [one]} for one in choices), path=COMPLETIONS)
        if in_stream
        else whole({"choices": choices}, COMPLETIONS)
    )
    assert [(found.prompt, found.tokens) for found in recordings_of(answer)] == [((1,), (11,)), ((2,), (12,))]


def test_token_ids_that_were_sent_are_the_prompt() -> None:
    """Of vLLM's /inference/v1/generate, with the hashes of its media."""
    recorded = streamed(
        {"choices": [choice(token_ids=[5], finish_reason="stop")]},
        path="/inference/v1/generate",
        token_ids=[1, 2],
        features={"mm_hashes": {"image": ["aa", "bb"]}},
    )
    (found,) = recordings_of(recorded)
    assert (found.prompt, found.tokens, found.media) == ((1, 2), (5,), ("aa", "bb"))


CHAT_LOGPROBS = {
    "content": [
        {
            "token": "a",
            "logprob": -0.5,
            "top_logprobs": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -2}],
        }
    ]
}
TEXT_LOGPROBS = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5, "b": -2}]}
GENERATE_LOGPROBS = {
    "content": [
        {
            "token_id": 7,
            "logprob": -0.5,
            "top_logprobs": [{"token_id": 7, "logprob": -0.5}, {"token_id": 8, "logprob": -2}],
        }
    ]
}
A, B = "a", "b"


@pytest.mark.parametrize(
    ("logprobs", "first", "second"),
    [(CHAT_LOGPROBS, A, B), (TEXT_LOGPROBS, A, B), (GENERATE_LOGPROBS, 7, 8)],
)
def test_logprobs_of_each_form_read_alike(logprobs: dict[str, Any], first: int | str, second: int | str) -> None:
    """The token's own first, then the most likely ones."""
    answer = whole(
        {"prompt_token_ids": [1], "choices": [choice(token_ids=[7], logprobs=logprobs, finish_reason="stop")]}
    )
    (found,) = recordings_of(answer)
    own = TokenLogprob(first, -0.5)
    assert found.logprobs == ((own, own, TokenLogprob(second, -2.0)),)


def test_tokens_written_as_ids_are_ids() -> None:
    """`return_tokens_as_token_ids` writes `token_id:8`."""
    logprobs = {"tokens": ["token_id:7"], "token_logprobs": [-1], "top_logprobs": None}
    (found,) = recordings_of(whole({"choices": [choice(prompt_token_ids=[1], token_ids=[7], logprobs=logprobs)]}))
    assert found.logprobs == ((TokenLogprob(7, -1.0),),)


def test_logprobs_that_do_not_cover_the_tokens_are_left_out() -> None:
    """Nobody could say whose they are."""
    answer = whole({"prompt_token_ids": [1], "choices": [choice(token_ids=[7, 8], logprobs=CHAT_LOGPROBS)]})
    assert recordings_of(answer)[0].logprobs == ()


def test_the_parameters_that_were_stated_are_kept() -> None:
    """Numbers only. The n-th choice has the n-th seed, as vLLM gives it; a capture has them one level deeper."""
    answer = {"prompt_token_ids": [1], "choices": [choice(0, token_ids=[7]), choice(1, token_ids=[8])]}
    found = recordings_of(whole(answer, temperature=0.5, seed=3, n=2, top_p="high", stream=False))
    assert [one.sampling for one in found] == [
        (("seed", 3), ("temperature", 0.5)),
        (("seed", 4), ("temperature", 0.5)),
    ]
    (captured,) = recordings_of(
        whole({"choices": [choice(token_ids=[7])]}, token_ids=[1], sampling_params={"top_k": 5})
    )
    assert captured.sampling == (("top_k", 5),)


def test_another_model_is_an_adapter() -> None:
    """Where the base model's names are given."""
    answer = whole({"prompt_token_ids": [1], "choices": [choice(token_ids=[7])]})
    assert [recordings_of(answer, "", frozenset(names))[0].lora for names in ([], ["tiny"], ["base"])] == [
        None,
        None,
        "tiny",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        whole({"choices": [choice(message={"content": "a"}, finish_reason="stop")]}),
        whole({"prompt_token_ids": [1, "2"], "choices": [choice(token_ids=[7])]}),
        whole({"prompt_token_ids": [1], "choices": [choice(token_ids=[-7])]}),
        whole({"prompt_token_ids": [1], "choices": [{"token_ids": [7]}]}),
        whole({"prompt_token_ids": [1], "choices": [choice(token_ids=[7])]}, status=500),
        whole({"prompt_token_ids": [1], "choices": 5}),
    ],
)
def test_what_carries_no_ids_is_no_recording(answer: Exchange) -> None:
    """Nor what carries something else in their place: a cassette is untrusted."""
    assert recordings_of(answer) == []


def test_the_end_of_the_model_is_told_from_a_stop() -> None:
    """Only what the model ended itself may be followed by its end-of-sequence token."""
    ended = TokenRecording((1,), (2,), "stop")
    others = [
        TokenRecording((1,), (2,), "length"),
        TokenRecording((1,), (2,), "stop", "x"),
        TokenRecording((1,), (2,), "stop", 7),
        TokenRecording((1,), (2,)),
    ]
    assert [recording.ended_by_itself for recording in (ended, *others)] == [True, False, False, False, False]


def test_a_line_is_a_recording() -> None:
    """As `export --to token-ids` writes it; everything but the ids may be missing."""
    line = {
        "prompt_token_ids": [1],
        "token_ids": [2, 3],
        "finish_reason": "stop",
        "stop_reason": 3,
        "times_s": [0.5, 0.75],
        "lora": "a",
        "mm_hashes": ["h"],
        "approximate": True,
        "exchange": "0a1b",
        "choice": 1,
        "more": {},
    }
    assert recording_of_line(orjson.dumps(line)) == TokenRecording(
        (1,), (2, 3), "stop", 3, (500_000_000, 750_000_000), True, (), "a", ("h",), True, "0a1b choice 1"
    )
    assert recording_of_line(b'{"prompt_token_ids":[],"token_ids":[]}') == TokenRecording((), ())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b'{"prompt_token_ids":[1],"token_ids":["a"]}',
        b'{"prompt_token_ids":[1],"token_ids":[1],"times_s":5}',
    ],
)
def test_a_line_of_something_else_is_refused(line: bytes) -> None:
    """With what is wrong with it."""
    with pytest.raises(ValueError, match=r"."):
        recording_of_line(line)
