"""What a mock model inside vLLM must answer as the recorded server did: eight prompts in each way that vLLM generates.

All ask for token ids, greedily or with a seed; each request is one of its own for the recorder.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from replayproxy.model import Request
from tests.live.matrix import NAMED, WEATHER, chat, completion
from tests.wire import Answer, connect

WORDS = "the river and the stone keep their counsel while the evening opens a quiet road to the hidden garden"
PROMPTS = [f"{number}: tell me how {WORDS[number * 3 :]}, and of {number * 17} more" for number in range(8)]

CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"enum": [1, 2, 3]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "trip", "strict": True, "schema": CITY}}
USAGE = {"include_usage": True}


def greedy(text: str, **more: Any) -> Request:
    """A chat whose answer carries token ids."""
    return chat(text, temperature=0, return_token_ids=True, **more)


def chosen(text: str, **more: Any) -> Request:
    """One that must obey a grammar, by chance: greedily the tiny model makes spaces for ever."""
    return chat(text, temperature=1, seed=3, max_tokens=96, return_token_ids=True, **more)


def ways(text: str) -> dict[str, Request]:
    """One prompt in each way."""
    return {
        "unary": greedy(text),
        "stream": greedy(text, stream=True, stream_options=USAGE),
        "n=2": chat(text, n=2, temperature=1, seed=1, return_token_ids=True),
        "n=2 stream": chat(text, n=2, temperature=1, seed=2, return_token_ids=True, stream=True),
        "logprobs": greedy(text, logprobs=True, top_logprobs=3),
        "logprobs stream": greedy(text, logprobs=True, top_logprobs=2, stream=True),
        "stop string": greedy(text, stop=["e"], max_tokens=64),
        "stop string stream": greedy(text, stop=["t"], max_tokens=64, stream=True),
        "tool call": chosen(text, tools=[WEATHER], tool_choice=NAMED),
        "tool call stream": chosen(text, tools=[WEATHER], tool_choice=NAMED, stream=True),
        "JSON schema": chosen(text, response_format=SCHEMA),
        "JSON schema stream": chosen(text, response_format=SCHEMA, stream=True),
        "completion": completion(text, temperature=0, return_token_ids=True, logprobs=2),
        "completion stream": completion(text, temperature=0, return_token_ids=True, stream=True),
    }


WAYS = list(ways(""))
QUESTIONS = {f"{way} {number}": request for number, text in enumerate(PROMPTS) for way, request in ways(text).items()}


async def ask_each(url: str, questions: dict[str, Request], at_once: int = 1) -> dict[str, Answer]:
    """The answers, in order over so many connections."""
    waiting = iter(questions.items())
    answers: dict[str, Answer] = {}

    async def one() -> None:
        async with connect(url) as connection:
            for name, request in waiting:
                answers[name] = await connection.ask(request)

    await asyncio.gather(*(one() for _ in range(at_once)))
    return {name: answers[name] for name in questions}


def content(answer: Answer) -> object:
    """An answer without what differs between two runs of one server: ids, the time of day, and which of several choices
    comes first."""
    return sorted((_without_ids(value) for value in documents(answer)), key=_choice)


def _choice(document: dict[str, Any]) -> int:
    """The choice that an event belongs to; the others come last."""
    return next((int(choice["index"]) for choice in document["choices"]), 99)


def documents(answer: Answer) -> list[Any]:
    """The JSON documents of an answer: its events, or the one that it is."""
    if not answer.body.startswith(b"data:"):
        return [orjson.loads(answer.body)]
    lines = answer.body.splitlines()
    return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_ids(part)
            for name, part in value.items()
            if name not in ("id", "created", "system_fingerprint")
        }
    return [_without_ids(part) for part in value] if isinstance(value, list) else value


def texts_and_counts(answer: Answer, *, usage: bool = True) -> dict[Any, Any]:
    """What an answer says in the end, however it is cut into events: by choice text and token ids, and the usage."""
    found: dict[Any, Any] = {"status": answer.status}
    for document in documents(answer):
        if usage and document.get("usage"):
            found["usage"] = {name: count for name, count in document["usage"].items() if isinstance(count, int)}
        for choice in document.get("choices", ()):
            said = found.setdefault(choice["index"], {"text": "", "calls": "", "ids": [], "finish": None})
            part = choice.get("delta") or choice.get("message") or choice
            said["text"] += part.get("content") or part.get("text") or ""
            for call in part.get("tool_calls") or ():
                said["calls"] += (call["function"].get("name") or "") + (call["function"].get("arguments") or "")
            said["ids"] += choice.get("token_ids") or []
            said["finish"] = choice.get("finish_reason") or said["finish"]
    return found
