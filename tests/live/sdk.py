"""What the official SDKs make of the answers at an address: every call's objects, dumped whole.

The SDKs are the readers that count most: what differs for them differs, and what is equal for them can be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import anthropic
import openai
from pydantic import BaseModel

from tests.live.matrix import WEATHER

SAID: Any = [{"role": "user", "content": "Tell me a story."}]
USAGE = {"include_usage": True}


def objects(url: str) -> dict[str, Any]:
    """All calls, one after another; and those that an asynchronous client makes, all at once."""
    said: dict[str, Any] = {}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        said |= {f"openai {name}": call(client) for name, call in OPENAI.items()}
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as claude:
        said |= {f"anthropic {name}": call(claude) for name, call in ANTHROPIC.items()}
    said["openai, many at once"] = asyncio.run(_many(url))
    return said


def whole(value: BaseModel) -> Any:
    """An object as plain data, fields that the SDK does not know included."""
    return value.model_dump(warnings=False)


def each(values: Iterable[BaseModel]) -> list[Any]:
    """The objects of a stream."""
    return [whole(value) for value in values]


def _refused(call: Callable[[], object]) -> Any:
    """What the SDK raises, as plain data."""
    try:
        call()
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return type(error).__name__, error.status_code, error.body, str(error)
    raise AssertionError("the SDK took it")


def _chat(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(model="tiny", messages=SAID, max_tokens=32, **more)


def _text(client: openai.OpenAI, prompt: Any, **more: Any) -> Any:
    return client.completions.create(model="tiny", prompt=prompt, max_tokens=32, **more)


def _accumulated(client: openai.OpenAI) -> Any:
    """The SDK's own accumulation of a stream."""
    with client.chat.completions.stream(model="tiny", messages=SAID, max_tokens=32, seed=3) as stream:
        kinds = [event.type for event in stream]
        return kinds, whole(stream.current_completion_snapshot)


OPENAI: dict[str, Callable[[openai.OpenAI], Any]] = {
    "chat": lambda client: whole(_chat(client)),
    "chat, streamed": lambda client: each(_chat(client, stream=True)),
    "chat with usage": lambda client: each(_chat(client, stream=True, stream_options=USAGE)),
    "chat with n=2 and logprobs": lambda client: whole(_chat(client, n=2, logprobs=True, top_logprobs=2)),
    "chat with n=2 and logprobs, streamed": lambda client: each(
        _chat(client, n=2, logprobs=True, top_logprobs=2, stream=True)
    ),
    "chat with a tool": lambda client: whole(_chat(client, tools=[WEATHER], tool_choice="required")),
    "chat with a tool, streamed": lambda client: each(
        _chat(client, tools=[WEATHER], tool_choice="required", stream=True)
    ),
    "chat, accumulated": _accumulated,
    "completion": lambda client: whole(_text(client, "Once upon")),
    "completion, streamed": lambda client: each(_text(client, "Once upon", stream=True)),
    "completion of token ids with echo": lambda client: whole(_text(client, [5, 6, 7], echo=True, logprobs=1)),
    "responses": lambda client: whole(
        client.responses.create(model="tiny", input="Tell me a story.", max_output_tokens=32)
    ),
    "responses, streamed": lambda client: each(
        client.responses.create(model="tiny", input="Tell me a story.", max_output_tokens=32, stream=True)
    ),
    "models": lambda client: each(client.models.list()),
    "no such model": lambda client: _refused(lambda: client.completions.create(model="gpt-nobody", prompt="Who?")),
    "no such type": lambda client: _refused(lambda: _text(client, "x", temperature="hot")),
}

ANTHROPIC: dict[str, Callable[[anthropic.Anthropic], Any]] = {
    "messages": lambda client: whole(client.messages.create(model="tiny", max_tokens=32, messages=SAID)),
    "messages, streamed": lambda client: each(
        client.messages.create(model="tiny", max_tokens=32, messages=SAID, stream=True)
    ),
    "messages, counted": lambda client: whole(client.messages.count_tokens(model="tiny", messages=SAID)),
    "no such model": lambda client: _refused(
        lambda: client.messages.create(model="gpt-nobody", max_tokens=9, messages=SAID)
    ),
}


async def _many(url: str) -> list[Any]:
    """Eight chats at once, every second one streamed. Each has its own prompt, so that each has its own answer."""

    async def one(client: openai.AsyncOpenAI, number: int) -> Any:
        body: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": f"Story {number}."}]}
        if number % 2:
            return whole(await client.chat.completions.create(**body, max_tokens=32))
        stream: AsyncIterator[BaseModel] = await client.chat.completions.create(**body, max_tokens=32, stream=True)
        return [whole(part) async for part in stream]

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        return await asyncio.gather(*(one(client, number) for number in range(8)))
