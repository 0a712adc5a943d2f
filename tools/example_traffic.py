"""Writes a cassette with invented traffic: for the pictures of the inspector, and for its tests.

    python -m tools.example_traffic OUT.cassette [EXCHANGES]

Two models, chats with tools and reasoning, errors, answers that were cut, a prefill/decode pair. The same arguments
give the same exchanges: texts are invented, times come from a seed.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import SALT_BYTES, Redactor
from replayproxy.model import Ending, Exchange, Headers, Leg, Request, Response, Timeline
from replayproxy.ports import ExchangePart

MS = 1_000_000
START = 1_795_000_000_000 * MS
"""2026-11-18 11:06:40 UTC, in ns since the Unix epoch."""

JSON: Headers = (("content-type", "application/json"),)
STREAM: Headers = (("content-type", "text/event-stream; charset=utf-8"),)

TALKS = (
    (
        "Why is the sky blue?",
        "Air scatters short waves of sunlight more strongly than long ones, so blue light reaches us from all sides.",
    ),
    ("Name three rivers of Europe.", "The Danube, the Rhine and the Loire."),
    ("Write a haiku about rain.", "Rain on the tin roof,\na hundred small fingers drum\nthe end of summer."),
    (
        "What does a mutex protect?",
        "State that several threads use: only the thread that holds the mutex may read or change it.",
    ),
    ("Translate 'good morning' into Greek.", "Καλημέρα"),
    ("How many legs has a spider?", "Eight. Insects have six."),
)
SYSTEM = "You are a helpful assistant. Answer in one or two sentences."
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
REASONING = "The user asks for the weather of a city. I have a tool for this, so I call it with the city's name."


def exchanges(count: int = 420, seed: int = 7) -> Iterator[Exchange]:
    """So many exchanges within forty minutes, oldest first."""
    chance = random.Random(seed)
    step = 2400 * 1000 * MS // max(1, count)
    for number in range(count):
        at = START + number * step + chance.randrange(step)
        kind = number % 20
        if kind == 7:
            yield _tool_call(number, at, chance)
        elif kind == 11:
            yield _error(number, at, chance)
        elif kind == 15:
            yield _pair(number, at, chance)
        elif kind == 18:
            yield _embedding(number, at, chance)
        else:
            cut = {4: Ending.CLIENT_LEFT, 16: Ending.UPSTREAM_CUT}.get(number % 90, Ending.COMPLETE)
            yield _chat(number, at, chance, cut)


def long_stream(chunks: int) -> Exchange:
    """One answer of so many chunks, 10 ms apart."""
    words = [f" {number}" for number in range(chunks - 2)]
    times = [200 + 10 * place for place in range(chunks)]
    return Exchange(_asked("Count.", "chat-8b"), _streamed(_events(words, "chat-8b", 0), times), START)


def write(path: Path, count: int = 420) -> Path:
    """A sealed cassette of `exchanges`."""
    return written(path, exchanges(count))


def written(path: Path, chosen: Iterable[Exchange]) -> Path:
    """A sealed cassette of these, written in one transaction."""
    writer = CassetteWriter(path, Matcher(MatchRules(), Redactor(bytes(SALT_BYTES))))
    writer.begin()
    for number, exchange in enumerate(chosen, 1):
        writer.keep(ExchangePart.of(number, exchange))
    writer.commit()
    writer.seal()
    return path


def _asked(prompt: str, model: str, **more: Any) -> Request:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
    body = {"model": model, "messages": messages, "stream": True, "temperature": 0.7, "max_tokens": 256, **more}
    return Request("POST", "/v1/chat/completions", JSON, orjson.dumps(body))


def _events(words: list[str], model: str, number: int, prompt_tokens: int = 42) -> list[bytes]:
    """The events of a streamed chat: a role, a word each, the finish with the usage."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(words)}
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    return _with_end(_frame(model, number), deltas, "stop", usage)


def _frame(model: str, number: int) -> dict[str, Any]:
    return {"id": f"chatcmpl-{number:08x}", "object": "chat.completion.chunk", "created": 1795000000, "model": model}


def _with_end(frame: dict[str, Any], deltas: Sequence[Any], finish: str, usage: dict[str, int]) -> list[bytes]:
    def event(more: dict[str, Any]) -> bytes:
        return b"data: " + orjson.dumps(frame | more) + b"\n\n"

    events = [event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) for delta in deltas]
    done = event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return [*events, done + event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n"]


def _streamed(events: list[bytes], times: Sequence[float], ending: Ending = Ending.COMPLETE) -> Response:
    at = tuple(round(time * MS) for time in times)
    return Response(200, STREAM, b"".join(events), tuple(map(len, events)), Timeline(at[0], at, at[-1] + MS), ending)


def _words(text: str) -> list[str]:
    parts = text.split(" ")
    return [parts[0], *(f" {part}" for part in parts[1:])]


def _times(chance: random.Random, count: int, first: float, gap: float) -> list[float]:
    """Times in ms, with a long gap now and then."""
    at, times = first, []
    for _ in range(count):
        times.append(at)
        at += gap * chance.lognormvariate(0, 0.25) * (8 if chance.random() < 0.02 else 1)
    return times


def _chat(number: int, at: int, chance: random.Random, ending: Ending) -> Exchange:
    model = "chat-8b" if number % 3 else "chat-70b"
    slow = 3.2 if model == "chat-70b" else 1.0
    prompt, answer = TALKS[number % len(TALKS)]
    # Load rises towards the middle of the forty minutes.
    load = 1 + 2.5 * max(0.0, 1 - abs((at - START) / (1400e3 * MS) - 1) * 3)
    words = _words(f"{answer} " * (1 + number % 4))
    events = _events(words, model, number)
    times = _times(chance, len(events), 60 * slow * load * chance.lognormvariate(0, 0.3), 14 * slow)
    if ending is not Ending.COMPLETE:
        events, times = events[: len(events) // 2], times[: len(times) // 2]
    asked = _asked(f"{prompt} ({number})", model)
    return Exchange(asked, _streamed(events, times, ending), at, scope="evaluation" if number % 7 == 0 else "")


def _tool_call(number: int, at: int, chance: random.Random) -> Exchange:
    asked = _asked(f"What is the weather in Paris? ({number})", "chat-8b", tools=[WEATHER])
    call = {"index": 0, "id": f"call_{number}", "type": "function", "function": {"name": "get_weather"}}
    arguments = ('{"city"', ': "Paris"}')
    deltas = [
        {"role": "assistant"},
        *({"reasoning": word} for word in _words(REASONING)),
        {"tool_calls": [call]},
        *({"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in arguments),
    ]
    usage = {"prompt_tokens": 96, "completion_tokens": len(deltas)}
    events = _with_end(_frame("chat-8b", number), deltas, "tool_calls", usage)
    return Exchange(asked, _streamed(events, _times(chance, len(events), 90, 15)), at)


def _error(number: int, at: int, chance: random.Random) -> Exchange:
    status, words = chance.choice([(429, "Too many requests"), (400, "max_tokens is too large"), (503, "Overloaded")])
    body = orjson.dumps({"error": {"message": words, "type": "BadRequestError", "code": status}})
    time = round(chance.uniform(2, 9) * MS)
    answer = Response(status, JSON, body, (len(body),), Timeline(time, (time,), time))
    return Exchange(_asked(f"Summarise this page. ({number})", "chat-70b", max_tokens=10**6), answer, at)


def _pair(number: int, at: int, chance: random.Random) -> Exchange:
    asked = _asked(f"Explain paged attention. ({number})", "chat-8b")
    words = _words("Keys and values are kept in blocks, so that memory is shared and nothing is copied. " * 3)
    events = _events(words, "chat-8b", number, 1830)
    prefill = round(chance.uniform(80, 130) * MS)
    handed = prefill + round(chance.uniform(2, 6) * MS)
    times = _times(chance, len(events), handed / MS + 18, 11)
    transfer = orjson.dumps({"kv_transfer_params": {"do_remote_decode": True, "remote_request_id": f"r-{number}"}})
    decoded = _streamed(events, [time - handed / MS for time in times])
    prefilled = Response(200, JSON, transfer, (len(transfer),), Timeline(prefill, (prefill,), prefill))
    legs = (
        Leg("prefill", "http://127.0.0.1:8100", asked, prefilled),
        Leg("decode", "http://127.0.0.1:8200", asked, decoded, handed),
    )
    return Exchange(asked, _streamed(events, times), at, legs)


def _embedding(number: int, at: int, chance: random.Random) -> Exchange:
    asked = Request("POST", "/v1/embeddings", JSON, orjson.dumps({"model": "embed", "input": [f"text {number}"]}))
    vector = [round(chance.uniform(-1, 1), 4) for _ in range(16)]
    body = orjson.dumps({"object": "list", "data": [{"embedding": vector}], "usage": {"prompt_tokens": 3}})
    time = round(chance.uniform(4, 12) * MS)
    return Exchange(asked, Response(200, JSON, body, (len(body),), Timeline(time, (time,), time)), at)


if __name__ == "__main__":
    write(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
