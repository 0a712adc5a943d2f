"""The SDKs of OpenAI and Anthropic read each endpoint of the simulator, streamed and not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import orjson
import pytest

from replayproxy import ProxyServer, simulate
from tests.doubles.simulation import WEATHER

USER: Any = {"role": "user", "content": "One two."}
TOOL: Any = WEATHER
FLAT: Any = {"type": "function", "name": "get_weather", "parameters": TOOL["function"]["parameters"]}
WITH_USAGE = {"include_usage": True}
SCHEMA = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}


@pytest.fixture(scope="module")
def server() -> Iterator[ProxyServer]:
    """A simulator that repeats what it is told, after a thought."""
    with simulate("tiny", answer_mode="echo", reasoning_tokens=3, api_key=["key"]) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: ProxyServer) -> openai.OpenAI:
    """OpenAI's."""
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="key", max_retries=0)


@pytest.fixture(scope="module")
def claude(server: ProxyServer) -> anthropic.Anthropic:
    """Anthropic's, which sends a bearer token too."""
    return anthropic.Anthropic(base_url=server.url, auth_token="key", api_key=None, max_retries=0)


def test_chat(client: Any) -> None:
    """Text, tools and logprobs."""
    answer = client.chat.completions.create(model="tiny", messages=[USER], logprobs=True, top_logprobs=1)
    assert answer.choices[0].message.content == "One two."
    assert answer.choices[0].logprobs.content[0].top_logprobs[0].logprob == -1.0
    called = client.chat.completions.create(model="tiny", messages=[USER], tools=[WEATHER], tool_choice="required")
    assert orjson.loads(called.choices[0].message.tool_calls[0].function.arguments).keys() == {"city", "days"}


def test_chat_streamed(client: Any) -> None:
    """The SDK's own accumulation of deltas and of tool calls."""
    with client.chat.completions.stream(
        model="tiny", messages=[USER], stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "One two."
    assert final.usage is not None
    assert final.usage.completion_tokens == 7
    with client.chat.completions.stream(
        model="tiny",
        messages=[USER],
        tools=[WEATHER],
        tool_choice="required",
    ) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls is not None
    assert orjson.loads(calls[0].function.arguments).keys() == {"city", "days"}


def test_completions(client: Any) -> None:
    """Whole and streamed."""
    assert client.completions.create(model="tiny", prompt="One two.").choices[0].text == "One two."
    pieces = client.completions.create(model="tiny", prompt="One two.", stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == "One two."


def test_responses(client: Any) -> None:
    """Text, reasoning, tools and schemas."""
    answer = client.responses.create(model="tiny", input="One two.")
    assert (answer.output_text, [item.type for item in answer.output]) == ("One two.", ["reasoning", "message"])
    called = client.responses.create(model="tiny", input="x", tools=[FLAT], tool_choice="required")
    assert called.output[-1].name == "get_weather"
    shaped = client.responses.create(
        model="tiny",
        input="x",
        text={"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}},
    )
    assert orjson.loads(shaped.output_text) == {"a": 1}


def test_responses_streamed(client: Any) -> None:
    """The SDK checks the order of events."""
    with client.responses.stream(model="tiny", input="One two.") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == "One two."


def test_embeddings(client: Any) -> None:
    """The SDK asks for base64 itself."""
    answer = client.embeddings.create(model="tiny", input=["a", "b"], dimensions=8)
    assert [len(entry.embedding) for entry in answer.data] == [8, 8]


def test_models(client: Any) -> None:
    """One."""
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_messages(claude: Any) -> None:
    """Thinking, text and tools, whole and streamed; tokens are counted."""
    answer = claude.messages.create(model="tiny", max_tokens=50, messages=[USER])
    assert [block.type for block in answer.content] == ["thinking", "text"]
    with claude.messages.stream(model="tiny", max_tokens=50, messages=[USER]) as stream:
        assert "".join(stream.text_stream) == "One two."
        assert stream.get_final_message().stop_reason == "end_turn"
    tool = {"name": "look", "input_schema": SCHEMA}
    with claude.messages.stream(
        model="tiny",
        max_tokens=50,
        messages=[USER],
        tools=[tool],
        tool_choice={"type": "any"},
    ) as stream:
        block = stream.get_final_message().content[-1]
    assert (block.type, block.input) == ("tool_use", {"a": 1})
    counted = claude.messages.count_tokens(model="tiny", messages=[USER])
    assert counted.input_tokens == answer.usage.input_tokens


def test_errors_become_the_exceptions_of_the_sdks(server: ProxyServer, client: Any) -> None:
    """By their status."""
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="nobody", messages=[USER])
    with pytest.raises(openai.BadRequestError, match="max_tokens must be at least 0"):
        client.completions.create(model="tiny", prompt="a", max_tokens=-1)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0).models.list()
