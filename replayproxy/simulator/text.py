"""Invent answers: how long they are, what they say, which tools they call. Pure; the same draw gives the same answer.

Modes: `echo` repeats what was asked, `random` says sentences or words, `cassette` repeats recorded answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import orjson

from replayproxy.simulator.generation import (
    REASONING,
    TEXT,
    TOOL_CALL,
    AnswerPart,
    GenerationRequest,
    InventedAnswer,
    TextSettings,
    Tool,
)
from replayproxy.simulator.schema import SchemaValues
from replayproxy.simulator.tokens import LARGEST, Token, Tokenizer

SENTENCES = (
    "The river is slow here, and the old bridge stands a little further down.",
    "Most of the letters arrive before noon.",
    "Nobody had counted the windows on the north side until this morning!",
    "A short walk takes you from the station to the garden.",
    "Is there enough light to read by, or shall I open the blinds?",
    "Seven small boats left the harbour before the wind turned.",
    "It depends on the season: in winter the road is closed at night.",
    "She kept the number of the first engine in a notebook.",
    "Stone holds the warmth of the day for hours.",
    "They met again in the evening, under the clock in the hall.",
    "The answer is on the last page, between two green lines.",
)
"""What random answers are made of."""

WORDS = tuple(sorted({word.strip(",.!?:").lower() for sentence in SENTENCES for word in sentence.split()}))

THOUGHTS = (
    "Let me see what is asked here.",
    "There are two ways to read this.",
    "The first one seems more likely.",
    "So the answer should be short.",
)
"""What reasoning is made of."""

END = Token(LARGEST, "")
"""The token that ends an answer by itself. It counts, as vLLM's does, and has no text."""

AVERAGE, SPREAD = 40, 20
"""Mean and standard deviation of the length of an answer without `max_tokens`, as in llm-d-inference-sim."""

SHARES = (0.2, 0.3, 0.2, 0.05, 0.1, 0.15)
"""How likely each bucket of lengths is where `max_tokens` is given; the last one is `max_tokens` itself."""

WIDTH = 20
"""Tokens in a bucket; the fourth one has the rest."""


class Composer:
    """Invents answers by its settings."""

    def __init__(self, tokenizer: Tokenizer, settings: TextSettings) -> None:
        self._tokenizer = tokenizer
        self._settings = settings
        self._sentences = [tokenizer.tokens(f"{sentence} ") for sentence in SENTENCES]
        self._words = [tokenizer.tokens(f" {word}") for word in WORDS]
        self._thoughts = [tokenizer.tokens(f"{thought} ") for thought in THOUGHTS]

    def compose(self, request: GenerationRequest, draw: random.Random) -> InventedAnswer:
        """The answer to a request."""
        limit = request.limit
        parts: list[AnswerPart] = []
        if request.reasoning_tokens:
            thoughts = _fill(self._thoughts, draw, min(request.reasoning_tokens, limit))
            parts.append(AnswerPart(REASONING, tuple(thoughts)))
            limit -= len(thoughts)
        calls = self._tool_calls(request, draw)
        if calls:
            answer = _cut_calls(parts, calls, limit)
            named = request.tool_choice.kind == "named"
            # A named function ends with `stop`, all other calls with `tool_calls`: so do vLLM and OpenAI.
            return answer or InventedAnswer((*parts, *_ended(calls)), "stop" if named else "tool_calls")
        return self._with_text(request, parts, limit, draw)

    # Text

    def _with_text(
        self, request: GenerationRequest, parts: list[AnswerPart], limit: int, draw: random.Random
    ) -> InventedAnswer:
        if limit <= 0:
            return InventedAnswer(tuple(parts), "length")
        tokens = self._text(request, limit, draw)
        stopped = _stopped(tokens, request)
        if stopped is not None:
            kept, reason = stopped
            return InventedAnswer((*parts, AnswerPart(TEXT, tuple(kept))), "stop", reason)
        if len(tokens) >= limit:
            return InventedAnswer((*parts, AnswerPart(TEXT, tuple(tokens[:limit]))), "length")
        return InventedAnswer((*parts, AnswerPart(TEXT, (*tokens, END))), "stop")

    def _text(self, request: GenerationRequest, limit: int, draw: random.Random) -> list[Token]:
        """The tokens of a text: fewer than `limit` where it ends by itself, else at least `limit`."""
        encode = self._tokenizer.tokens
        if request.options:
            return encode(draw.choice(request.options))
        if request.language is not None:
            return encode(request.language.text(draw))
        if request.schema is not None:
            values = SchemaValues(request.schema, draw, self._settings, probability=self._settings.optional_field)
            return encode(orjson.dumps(values.value()).decode())
        least = limit if request.ignore_eos else min(request.min_tokens, limit)
        if self._settings.mode == "echo":
            return _longer(encode(request.echo), least)
        if self._settings.mode == "cassette" and self._settings.corpus:
            return _longer(encode(draw.choice(self._settings.corpus)), least)
        length = max(least, self._length(request, limit, draw))
        return _fill(self._words if self._settings.words else self._sentences, draw, length)

    def _length(self, request: GenerationRequest, limit: int, draw: random.Random) -> int:
        """How many tokens a random answer has. Below the limit one of them is its end."""
        if request.max_tokens is not None:
            if self._settings.length == "max":
                return limit
            length = length_from_histogram(limit, draw)
        elif limit < WIDTH:
            length = draw.randint(1, limit)
        else:
            length = within(lambda: round(draw.gauss(AVERAGE, SPREAD)), 1, limit)
        return length if length == limit else length - 1

    # Tools

    def _tool_calls(self, request: GenerationRequest, draw: random.Random) -> list[AnswerPart]:
        choice, tools = request.tool_choice, request.tools
        if choice.kind == "none" or not tools:
            return []
        if choice.kind == "named":
            called = [tool for tool in tools if tool.name == choice.name][:1]
        else:
            number = 1 if choice.kind == "required" else 0
            while number < len(tools) and draw.randrange(100) < self._settings.extra_call:
                number += 1
            if not request.parallel_tool_calls:
                number = min(number, 1)
            called = [draw.choice(tools) for _ in range(number)]
        return [self._call(tool, draw) for tool in called]

    def _call(self, tool: Tool, draw: random.Random) -> AnswerPart:
        parameters = {"type": "object", **tool.parameters}
        values = SchemaValues(parameters, draw, self._settings, probability=self._settings.optional_parameter)
        # Spaces as a model that follows a grammar writes them, and Python's json too.
        arguments = orjson.dumps(values.value()).decode()
        return AnswerPart(
            TOOL_CALL, tuple(self._tokenizer.tokens(arguments)), tool.name, f"{draw.getrandbits(64):016x}"
        )


def length_from_histogram(limit: int, draw: random.Random) -> int:
    """A length from 1 to `limit`, by the six buckets of llm-d-inference-sim."""
    if limit <= len(SHARES):
        return draw.randint(1, limit)
    bucket = draw.choices(range(len(SHARES)), SHARES)[0]
    if bucket == len(SHARES) - 1:
        return limit
    widths = _widths(limit - 1)
    first = 1 + sum(widths[:bucket])
    return draw.randint(first, first + widths[bucket] - 1)


def _widths(tokens: int) -> list[int]:
    """How many lengths each of the five buckets below the limit has."""
    if tokens <= 5 * WIDTH:
        return [tokens // 5 + (index < tokens % 5) for index in range(5)]
    return [WIDTH, WIDTH, WIDTH, tokens - 4 * WIDTH, WIDTH]


def within(sample: Callable[[], int], low: int, high: int) -> int:
    """The first sample from `low` to `high`; after a hundred the last one, cut."""
    value = low
    for _ in range(100):
        value = sample()
        if low <= value <= high:
            return value
    return min(high, max(low, value))


def _fill(pieces: list[list[Token]], draw: random.Random, length: int) -> list[Token]:
    """So many tokens of pieces that are drawn one after the other."""
    tokens: list[Token] = []
    while len(tokens) < length:
        tokens += draw.choice(pieces)
    return tokens[:length]


def _longer(tokens: list[Token], least: int) -> list[Token]:
    """The same again and again, until it is long enough."""
    if not tokens or len(tokens) >= least:
        return tokens
    return (tokens * (least // len(tokens) + 1))[:least]


def _stopped(tokens: list[Token], request: GenerationRequest) -> tuple[list[Token], str | int | None] | None:
    """The tokens up to the first stop string or stop token, and which one it was; None where there is none.

    A stop token counts, and has no text; of a stop string the tokens up to its end count, and the text before it stays.
    """
    if not request.stop and not request.stop_token_ids:
        return None
    text, position = "", 0
    for position, token in enumerate(tokens, 1):
        if position > request.min_tokens and token.id in request.stop_token_ids:
            return [*tokens[: position - 1], Token(token.id, "")], token.id
        text += token.text
        if position <= request.min_tokens:
            continue
        found = [(text.find(stop), stop) for stop in request.stop if stop and stop in text]
        if found:
            at, stop = min(found)
            end = at + len(stop) if request.keep_stop else at
            return _cut_text(tokens[:position], end), stop
    return None


def _cut_text(tokens: list[Token], length: int) -> list[Token]:
    """The same tokens, with their text cut after so many characters."""
    cut: list[Token] = []
    for token in tokens:
        cut.append(Token(token.id, token.text[: max(0, length)]))
        length -= len(token.text)
    return cut


def _ended(calls: list[AnswerPart]) -> list[AnswerPart]:
    """Tool calls, the last one with the token that ends the answer."""
    last = calls[-1]
    return [*calls[:-1], AnswerPart(TOOL_CALL, (*last.tokens, END), last.name, last.call_id)]


def _cut_calls(parts: list[AnswerPart], calls: list[AnswerPart], limit: int) -> InventedAnswer | None:
    """The answer where there is no room for all of the calls; None where there is."""
    if sum(1 + len(call.tokens) for call in calls) < limit:
        return None
    kept: list[AnswerPart] = []
    for call in calls:
        room = limit - 1
        if room < 0:
            break
        kept.append(AnswerPart(TOOL_CALL, call.tokens[:room], call.name, call.call_id))
        limit -= 1 + len(call.tokens)
    return InventedAnswer((*parts, *kept), "length")
