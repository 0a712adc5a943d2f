"""Every kind of request that vLLM's HTTP interface has for text, and what came of them while vLLM was up.

One request a row, each with a key of its own. The answers are kept as a raw client saw them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replayproxy.model import Request
from tests.processes import recording
from tests.wire import Answer, connect, get, post

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
NAMED = {"type": "function", "function": {"name": "get_weather"}}


def chat(text: str, **more: Any) -> Request:
    """A chat of one turn."""
    return post(CHAT, {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 24, **more})


def completion(prompt: Any, **more: Any) -> Request:
    """A completion of text or of token ids."""
    return post(TEXT, {"model": "tiny", "prompt": prompt, "max_tokens": 24, **more})


def responses(text: str, **more: Any) -> Request:
    """OpenAI's newer endpoint."""
    return post("/v1/responses", {"model": "tiny", "input": text, "max_output_tokens": 24, **more})


def messages(text: str, **more: Any) -> Request:
    """Anthropic's endpoint."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 24, **more}
    return post("/v1/messages", body, ("Anthropic-Version", "2023-06-01"))


def _both(name: str, status: int, make: Any, *arguments: Any, **more: Any) -> dict[str, tuple[int, Request]]:
    """A row without and one with streaming."""
    return {
        name: (status, make(*arguments, **more)),
        f"{name}, streamed": (status, make(*arguments, **more, stream=True)),
    }


USAGE = {"include_usage": True}

ROWS: dict[str, tuple[int, Request]] = {
    **_both("chat", 200, chat, "Hello.", temperature=0),
    **_both("chat at temperature 1", 200, chat, "Hello again."),
    **_both("chat with n=2", 200, chat, "Say two things.", n=2),
    **_both("chat with logprobs", 200, chat, "How likely?", logprobs=True, top_logprobs=3),
    **_both("chat with token ids", 200, chat, "Count.", return_token_ids=True),
    **_both("chat in many tongues", 200, chat, "Grüß Gott, 你好, مرحبا, 🙂\u200d↔️, \x7f and \u2028.", max_tokens=64),
    **_both("chat cut by max_tokens", 200, chat, "Go on for ever.", max_tokens=3, ignore_eos=True),
    **_both("chat of one token", 200, chat, "One.", max_tokens=1),
    **_both("chat that stops at a word", 200, chat, "Stop.", stop=["e"], max_tokens=64),
    **_both("chat with a tool and choice none", 200, chat, "Rome?", tools=[WEATHER], tool_choice="none"),
    **_both("chat with a tool and choice auto", 200, chat, "Rome?", tools=[WEATHER], tool_choice="auto"),
    **_both("chat that must call a tool", 200, chat, "Rome?", tools=[WEATHER], tool_choice="required", max_tokens=96),
    **_both("chat that must call this tool", 200, chat, "Rome?", tools=[WEATHER], tool_choice=NAMED, max_tokens=96),
    **_both(
        "chat with a tool that is not there",
        400,
        chat,
        "Rome?",
        tools=[WEATHER],
        tool_choice={**NAMED, "function": {"name": "no"}},
    ),
    "chat with usage at the end": (200, chat("Use.", stream=True, stream_options=USAGE)),
    "chat with usage all along": (
        200,
        chat("Use more.", stream=True, stream_options={**USAGE, "continuous_usage_stats": True}),
    ),
    **_both("completion", 200, completion, "Once upon", temperature=0),
    **_both("completion with n=2", 200, completion, "Twice upon", n=2),
    **_both("completion of token ids", 200, completion, [17, 300, 4, 99, 1000], temperature=0),
    **_both("completion of two prompts", 200, completion, ["One", "Two"], temperature=0),
    **_both("completion of two prompts of token ids", 200, completion, [[5, 6, 7], [8, 9]], temperature=0),
    **_both("completion with echo", 200, completion, "Echo", echo=True),
    **_both("completion with echo and logprobs", 200, completion, "Echo", echo=True, logprobs=2),
    **_both("completion with logprobs", 200, completion, "Likely", logprobs=2),
    **_both("completion of a seed", 200, completion, "Seeded", seed=7),
    "completion with usage at the end": (200, completion("Use.", stream=True, stream_options=USAGE)),
    **_both("responses", 200, responses, "Hello."),
    **_both("messages", 200, messages, "Hello."),
    "messages, counted": (
        200,
        post("/v1/messages/count_tokens", {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}),
    ),
    "tokenize": (200, post("/tokenize", {"model": "tiny", "prompt": "Take this apart, please."})),
    "tokenize a chat": (200, post("/tokenize", {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]})),
    "detokenize": (200, post("/detokenize", {"model": "tiny", "tokens": [40, 41, 42]})),
    "models": (200, get("/v1/models")),
    "a large document": (200, get("/openapi.json")),
    **_both("an unknown model", 404, chat, "Who?", model="gpt-nobody"),
    **_both("completion by an unknown model", 404, completion, "Who?", model="gpt-nobody"),
    "an unknown model in responses": (404, responses("Who?", model="gpt-nobody")),
    "an unknown model in messages": (404, messages("Who?", model="gpt-nobody")),
    "a body that is no JSON": (400, post(CHAT, b'{"model": "tiny", "messages": [')),
    "a body without messages": (400, post(CHAT, {"model": "tiny"})),
    "a body of another type": (400, post(TEXT, {"model": "tiny", "prompt": "x", "max_tokens": "many"})),
    **_both("context overflow", 400, chat, "word " * 4000),
    **_both("context overflow by max_tokens", 400, completion, "x", max_tokens=100_000),
    "an unknown path": (404, get("/v1/nowhere?a=1&b=%20")),
    "the wrong method": (405, get(CHAT)),
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A sealed cassette, and what the client had got while it was recorded."""

    cassette: Path
    answers: dict[str, Answer]


def recorded_matrix(upstream: str, cassette: Path) -> Recorded:
    """Ask every row through a recorder."""
    with recording(cassette, upstream) as proxy:
        answers = asyncio.run(asked(proxy.url))
    assert proxy.code == 0, proxy.said
    return Recorded(cassette, answers)


async def asked(url: str) -> dict[str, Answer]:
    """The answers to all rows, one after another over one connection, as a client with a pool would ask."""
    async with connect(url) as connection:
        return {name: await connection.ask(request) for name, (_, request) in ROWS.items()}
