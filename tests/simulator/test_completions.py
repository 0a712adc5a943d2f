"""Tests of `simulator/completions`: the frames of vLLM 0.32, and the four forms of a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.simulator.generation import TextSettings
from tests.doubles.simulation import ask

PATH = "/v1/completions"
ECHO = TextSettings(mode="echo")
CHOICE = [
    "index", "text", "logprobs", "finish_reason", "stop_reason", "token_ids", "prompt_logprobs", "prompt_token_ids",
    "routed_experts",
]  # fmt: skip
FRAME = ["index", "text", "logprobs", "finish_reason", "stop_reason", "prompt_token_ids", "token_ids"]


def body(prompt: Any = "One two.", **more: Any) -> dict[str, Any]:
    """A request."""
    return {"model": "tiny", "prompt": prompt, **more}


def whole(prompt: Any = "One two.", **more: Any) -> Any:
    """The body of an answer."""
    return ask(PATH, body(prompt, **more), text=ECHO).json


def stream(prompt: Any = "One two.", **more: Any) -> list[Any]:
    """The events of a stream."""
    return ask(PATH, body(prompt, stream=True, **more), text=ECHO).events


def test_a_stream_has_a_frame_for_each_token() -> None:
    """No role; the last one has the reason and the fingerprint."""
    events = stream()
    choices = [event["choices"][0] for event in events]
    assert [choice["text"] for choice in choices] == ["One", " two", ".", ""]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]
    assert {tuple(choice) for choice in choices} == {tuple(FRAME)}
    assert ["system_fingerprint" in event for event in events] == [False, False, False, True]


def test_a_whole_answer_has_all_keys() -> None:
    """In vLLM's order."""
    answer = whole()
    assert list(answer) == [
        "id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "usage",
        "kv_transfer_params", "ec_transfer_params", "metrics",
    ]  # fmt: skip
    assert list(answer["choices"][0]) == CHOICE
    assert (answer["object"], answer["choices"][0]["text"]) == ("text_completion", "One two.")
    assert answer["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([0x61, 0x62], ["ab"]),
        ([[0x61], [0x62]], ["a", "b"]),
    ],
)
def test_a_prompt_has_four_forms(prompt: Any, texts: list[str]) -> None:
    """Texts and token ids, one or several; each prompt is a choice."""
    answer = whole(prompt)
    assert [choice["text"] for choice in answer["choices"]] == texts


def test_n_multiplies_prompts() -> None:
    """Choices count through; each prompt counts once."""
    answer = whole(["a", "b"], n=2)
    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == [
        (0, "a"), (1, "a"), (2, "b"), (3, "b"),
    ]  # fmt: skip
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (2, 8)


def test_echo_puts_the_prompt_first() -> None:
    """With its ids in the first frame."""
    assert whole("One", echo=True)["choices"][0]["text"] == "OneOne"
    first, *_ = stream("One", echo=True)
    assert (first["choices"][0]["text"], first["choices"][0]["prompt_token_ids"]) == ("OneOne", [0x4F6E65])


def test_logprobs_and_offsets_go_on_from_frame_to_frame() -> None:
    """As in the whole answer."""
    complete = whole(logprobs=2)["choices"][0]["logprobs"]
    assert complete["text_offset"] == [0, 3, 7, 8]
    streamed = [event["choices"][0]["logprobs"] for event in stream(logprobs=2)]
    for key in ("text_offset", "token_logprobs", "tokens", "top_logprobs"):
        assert [value for part in streamed for value in part[key]] == complete[key]


def test_token_ids_are_returned() -> None:
    """Those of the prompt once."""
    choice = whole("One", return_token_ids=True)["choices"][0]
    assert (choice["prompt_token_ids"], choice["token_ids"]) == ([0x4F6E65], [0x4F6E65, 2**32 - 1])
    frames = [event["choices"][0] for event in stream("One", return_token_ids=True)]
    assert [frame["prompt_token_ids"] for frame in frames] == [[0x4F6E65], None]


def test_usage_of_a_stream() -> None:
    """At the end, and in each frame if wanted."""
    events = stream(stream_options={"include_usage": True, "continuous_usage_stats": True})
    assert [event["usage"]["completion_tokens"] for event in events] == [1, 2, 3, 4, 4]
    assert events[-1]["choices"] == []


def test_an_answer_has_sixteen_tokens_unless_more_are_wanted() -> None:
    """As in OpenAI's API."""
    answer = ask(PATH, body(ignore_eos=True)).json
    assert answer["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize("prompt", ["", [], None, [""], [[]], 7, [None]])
def test_no_prompt_is_refused(prompt: Any) -> None:
    """In vLLM's words."""
    assert ask(PATH, body(prompt)).error == (
        400, "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)",
    )  # fmt: skip
