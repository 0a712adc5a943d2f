"""Tests of `simulator/chat`: the frames of vLLM 0.32, in its order, with its keys, null ones included."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from replayproxy.simulator.generation import TextSettings
from replayproxy.simulator.latency import Latency
from tests.doubles.simulation import MS, WEATHER, ask, chat

PATH = "/v1/chat/completions"
ECHO = TextSettings(mode="echo")

FIRST = ["id", "object", "created", "model", "choices", "prompt_token_ids", "prompt_text"]
WHOLE = [
    "id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "usage", "prompt_logprobs",
    "prompt_token_ids", "prompt_text", "kv_transfer_params", "ec_transfer_params", "metrics",
]  # fmt: skip
"""As recorded from vLLM 0.32."""


def stream(content: str = "One two.", text: TextSettings = ECHO, **more: Any) -> list[Any]:
    """The events of a streamed answer."""
    return ask(PATH, chat(content, stream=True, **more), text=text).events


def whole(content: str = "One two.", text: TextSettings = ECHO, **more: Any) -> Any:
    """The body of an answer."""
    return ask(PATH, chat(content, **more), text=text).json


def test_a_stream_has_a_role_tokens_and_an_end() -> None:
    """Keys of each frame in vLLM's order."""
    answer = ask(PATH, chat("One two.", stream=True), text=ECHO)
    first, *middle, last = answer.events
    assert (answer.status, answer.fields["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert list(first) == FIRST
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    ]
    assert [event["choices"] for event in middle] == [
        [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None, "token_ids": None}]
        for text in ("One", " two", ".")
    ]
    assert list(last) == ["id", "object", "created", "model", "choices", "system_fingerprint"]
    assert last["choices"] == [
        {
            "index": 0, "delta": {"content": ""}, "logprobs": None, "finish_reason": "stop", "stop_reason": None,
            "token_ids": None,
        }
    ]  # fmt: skip
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert {(event["id"], event["object"], event["created"], event["model"]) for event in answer.events} == {
        (first["id"], "chat.completion.chunk", 1_700_000_000, "tiny")
    }


def test_a_whole_answer_has_all_keys() -> None:
    """Those that are null too."""
    answer = whole()
    assert list(answer) == WHOLE
    assert answer["object"] == "chat.completion"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant", "content": "One two.", "refusal": None, "annotations": None, "audio": None,
                "function_call": None, "reasoning": None,
            },
            "logprobs": None, "finish_reason": "stop", "stop_reason": None, "token_ids": None, "routed_experts": None,
        }
    ]  # fmt: skip
    prompt = answer["usage"]["prompt_tokens"]
    assert answer["usage"] == {
        "prompt_tokens": prompt, "total_tokens": prompt + 4, "completion_tokens": 4, "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }  # fmt: skip


def test_usage_comes_at_the_end_if_it_is_wanted() -> None:
    """In a frame of its own without choices, which has the fingerprint then; null keys are left out."""
    *_, finish, usage = stream(stream_options={"include_usage": True})
    assert "system_fingerprint" not in finish
    assert list(usage) == ["id", "object", "created", "model", "choices", "usage", "system_fingerprint"]
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 4)
    assert list(usage["usage"]) == ["prompt_tokens", "total_tokens", "completion_tokens"]


def test_continuous_usage_is_in_each_frame() -> None:
    """It counts up."""
    events = stream(stream_options={"include_usage": True, "continuous_usage_stats": True})
    assert [event["usage"]["completion_tokens"] for event in events] == [0, 1, 2, 3, 4, 4]
    assert events[1]["usage"]["completion_tokens_details"] is None
    assert list(events[0])[4:] == ["choices", "usage", "prompt_token_ids", "prompt_text"]


def test_cached_tokens_are_in_usage_where_they_are_counted() -> None:
    """As with `--enable-prompt-tokens-details`."""
    answer = ask(PATH, chat(), text=ECHO, counts_cached=True).json
    details = {"cached_tokens": 0, "created_cache_tokens": 0, "multimodal_tokens": None}
    assert answer["usage"]["prompt_tokens_details"] == details


def test_n_choices_share_an_id_and_a_prompt() -> None:
    """Each has its role, its text and its end."""
    answer = whole(n=3, text=TextSettings())
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in answer["choices"]}) == 3
    one = whole(text=TextSettings())
    assert answer["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    events = stream(n=2)
    assert [event["choices"][0]["index"] for event in events[:2]] == [0, 1]
    finished = [event["choices"][0] for event in events if event["choices"][0]["finish_reason"]]
    assert sorted(choice["index"] for choice in finished) == [0, 1]


def test_logprobs_are_those_of_each_token() -> None:
    """The token itself is the first alternative; without `top_logprobs` there is none."""
    content = whole(logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in content] == ["One", " two", ".", ""]
    assert content[0] == {
        "token": "One", "logprob": -1.0, "bytes": [79, 110, 101],
        "top_logprobs": [
            {"token": "One", "logprob": -1.0, "bytes": [79, 110, 101]},
            {"token": "One_1", "logprob": -1.5, "bytes": [79, 110, 101, 95, 49]},
        ],
    }  # fmt: skip
    streamed = [event["choices"][0]["logprobs"] for event in stream(logprobs=True)[1:]]
    assert [entry["content"][0]["logprob"] for entry in streamed] == [-1.0, -1.1, -1.2, -1.0]
    assert streamed[0]["content"][0]["top_logprobs"] == []


def test_token_ids_are_returned() -> None:
    """Of the prompt in the first frame, of the answer in each."""
    first, *rest = stream(return_token_ids=True)
    assert first["prompt_token_ids"] == whole(return_token_ids=True)["prompt_token_ids"]
    assert [event["choices"][0]["token_ids"] for event in rest] == [[0x4F6E65], [0x2074776F], [0x2E], [2**32 - 1]]


@pytest.mark.parametrize(("named", "finish"), [(False, "tool_calls"), (True, "stop")])
def test_tool_calls_are_streamed_as_vllm_does(named: bool, finish: str) -> None:
    """Id, type and name once; then arguments. A named function ends with `stop`."""
    choice = {"type": "function", "function": {"name": "get_weather"}} if named else "required"
    events = stream(tools=[WEATHER], tool_choice=choice)
    _, head, *fragments, last = [event["choices"][0] for event in events]
    call = head["delta"]["tool_calls"][0]
    assert head["delta"] == {
        "content": None,
        "tool_calls": [{"id": call["id"], "type": "function", "index": 0, "function": {"name": "get_weather"}}],
    }
    assert call["id"].startswith("chatcmpl-tool-")
    assert all(list(part["delta"]["tool_calls"][0]) == ["index", "function"] for part in fragments)
    text = "".join(part["delta"]["tool_calls"][0]["function"]["arguments"] for part in fragments)
    assert orjson.loads(text).keys() == {"city", "days"}
    assert (last["delta"], last["finish_reason"]) == ({}, finish)
    message = whole(tools=[WEATHER], tool_choice=choice)["choices"][0]["message"]
    assert message["content"] == ""
    assert message["tool_calls"][0]["function"]["name"] == "get_weather"


def test_several_tool_calls_have_ids_of_their_own() -> None:
    """And indexes that count."""
    other = {"type": "function", "function": {"name": "other", "parameters": {}}}
    text = TextSettings(extra_call=100)
    message = whole(tools=[WEATHER, other], text=text)["choices"][0]["message"]
    assert message["content"] is None
    assert len({call["id"] for call in message["tool_calls"]}) == 2
    events = stream(tools=[WEATHER, other], text=text)
    heads = [part for event in events for part in event["choices"][0]["delta"].get("tool_calls", []) if "id" in part]
    assert [part["index"] for part in heads] == [0, 1]


def test_reasoning_is_a_field_of_its_own() -> None:
    """It comes before the text and is counted; `enable_thinking` and `reasoning_effort` turn it off."""
    text = TextSettings(mode="echo", reasoning_tokens=5)
    answer = whole(text=text)
    message = answer["choices"][0]["message"]
    assert message["reasoning"]
    assert message["content"] == "One two."
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 5}
    deltas = [event["choices"][0]["delta"] for event in stream(text=text)]
    assert [next(iter(delta)) for delta in deltas] == ["role", *["reasoning"] * 5, *["content"] * 4]
    for off in ({"chat_template_kwargs": {"enable_thinking": False}}, {"reasoning_effort": "none"}):
        assert whole(text=text, **off)["choices"][0]["message"]["reasoning"] is None
    hidden = whole(text=text, include_reasoning=False)
    assert hidden["choices"][0]["message"]["reasoning"] is None
    assert hidden["usage"]["completion_tokens_details"] == {"reasoning_tokens": 5}


def test_a_schema_is_followed() -> None:
    """By `response_format`."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert orjson.loads(whole(response_format=format)["choices"][0]["message"]["content"]).keys() == {"a"}


def test_times_are_those_of_the_engine() -> None:
    """The head at once, the first token after the TTFT, the end with the last token; whole answers at the end."""
    latency = Latency(ttft=100 * MS, itl=10 * MS)
    answer = ask(PATH, chat("One two.", stream=True), text=ECHO, latency=latency)
    assert [at for at, _ in answer.chunks] == [100, 100, 110, 120, 130, 130]
    assert answer.ended == 130
    complete = ask(PATH, chat("One two."), text=ECHO, latency=latency)
    assert ([at for at, _ in complete.chunks], complete.ended) == ([130], 130)


def test_a_prefill_hands_out_a_ticket() -> None:
    """One token, and what a decode server needs; a decode takes the time of the transfer."""
    latency = Latency(ttft=100 * MS, itl=10 * MS, kv_transfer=7 * MS)
    prefill = ask(PATH, chat("One two.", kv_transfer_params={"do_remote_decode": True}), text=ECHO, latency=latency)
    ticket = prefill.json["kv_transfer_params"]
    assert (ticket["do_remote_prefill"], prefill.json["usage"]["completion_tokens"]) == (True, 1)
    assert len(ticket["remote_block_ids"]) == -(-prefill.json["usage"]["prompt_tokens"] // 16)
    decode = ask(PATH, chat("One two.", stream=True, kv_transfer_params=ticket), text=ECHO, latency=latency)
    assert decode.chunks[0][0] == 7


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        ({"model": "nobody"}, 404, "The model `nobody` does not exist. Valid aliases: tiny."),
        ({"max_tokens": 0}, 400, "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)"),
        ({"n": 0}, 400, "n must be at least 1, got 0. (parameter=n, value=0)"),
        ({"temperature": -1}, 400, "temperature must be non-negative, got -1.0. (parameter=temperature, value=-1.0)"),
        (
            {"top_logprobs": 2},
            400,
            "when using `top_logprobs`, `logprobs` must be set to true. (parameter=top_logprobs)",
        ),
        (
            {"logprobs": True, "top_logprobs": 30},
            400,
            "Requested sample logprobs of 30, which is greater than max allowed: 20 (parameter=logprobs, value=30)",
        ),
        (
            {"max_tokens": 5000},
            400,
            "max_tokens=5000 cannot be greater than max_model_len=1024. Please request fewer output tokens."
            " (parameter=max_tokens, value=5000)",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "nope"}}},
            400,
            "The tool specified in `tool_choice` does not match any of the specified `tools` (parameter=tool_choice)",
        ),
        (
            {"stream_options": {"include_usage": True}},
            400,
            "Stream options can only be defined when `stream=True`. (parameter=stream_options)",
        ),
        ({"messages": []}, 400, "Cannot apply chat template to an empty conversation. Provide at least one message."),
        (
            {"messages": [{"role": "user", "content": "word " * 2000}]},
            400,
            "This model's maximum context length is 1024 tokens. However, your prompt contains at least 1025 input"
            " tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input"
            " prompt. (parameter=input_tokens, value=1025)",
        ),
    ],
)
def test_what_vllm_refuses_is_refused(more: dict[str, Any], status: int, message: str) -> None:
    """With its status and its words, as recorded; also where a stream was asked for."""
    assert ask(PATH, chat(**more)).error == (status, message)
    if "stream_options" not in more:
        assert ask(PATH, chat(stream=True, **more)).error == (status, message)
