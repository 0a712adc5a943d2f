"""What an answer says, in parts that can be compared: text by choice, tool calls, finish reasons, usage.

    Response ──▶ its JSON values, event by event ──▶ AnswerContent

Reads all dialects, streamed or not, so that a stream and a whole answer with the same words are the same. Text stays in
the pieces in which it came: a piece is a token where the server sends one per event. Knows no other answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from replayproxy.core import headers
from replayproxy.core.coding import decoded, decoded_chunks
from replayproxy.core.dialects.dialect import Json, nested, objects
from replayproxy.core.dialects.sse import Decoder
from replayproxy.core.dialects.table import finish_in, usage_in
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Response

Field = tuple[int, str]
"""A choice of an answer, and what of it: `content`, `reasoning`, `text`, `refusal`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one event, and the chunk (from 0) that completed it."""

    text: str
    chunk: int


@dataclass(slots=True)
class FunctionCall:
    """One tool call: its name, its arguments as they were written, and its id, which every server mints anew."""

    name: str = ""
    arguments: str = ""
    id: str = ""

    def value(self) -> Any:
        """The arguments as JSON; as text where they are not JSON."""
        try:
            return orjson.loads(self.arguments)
        except orjson.JSONDecodeError:
            return self.arguments


@dataclass(frozen=True)
class AnswerContent:
    """One answer, taken apart. `values` are the JSON values of its events, or its one body.

    `other` is a body in which no dialect has found anything: compared as a value, or as the bytes it is. `tokens` are
    ids of output tokens by choice, where the server sent them.
    """

    status: int
    media: str
    is_stream: bool
    values: Sequence[Any]
    pieces: Mapping[Field, Sequence[Piece]]
    calls: Mapping[int, Sequence[FunctionCall]]
    finish: Mapping[int, str]
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    tokens: Mapping[int, Sequence[int]]
    error: str | None
    other: Any = None

    def text(self, field: Field) -> str:
        """The whole text of a field."""
        return "".join(piece.text for piece in self.pieces.get(field, ()))


def content_of(response: Response) -> AnswerContent:
    """Take an answer apart. Never fails: what cannot be read is in `other`."""
    media = (headers.get(response.headers, "content-type") or "").partition(";")[0].strip().lower()
    is_stream = is_event_stream(response.headers)
    collected = _Collected()
    values: list[Any] = []
    for chunk, value in _values(response, is_stream):
        values.append(value)
        if isinstance(value, dict):
            collected.add(value, chunk)
    found = collected.pieces or collected.calls or collected.finish or collected.error
    other: Any = None
    if not found:
        other = values or decoded(response)
    prompt, completion, cached = collected.usage
    return AnswerContent(
        status=response.status,
        media=media,
        is_stream=is_stream,
        values=values,
        pieces=collected.pieces,
        calls={choice: [calls[place] for place in sorted(calls)] for choice, calls in collected.calls.items()},
        finish=collected.finish,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        tokens=collected.tokens,
        error=collected.error,
        other=other,
    )


def _values(response: Response, is_stream: bool) -> Iterator[tuple[int, Any]]:
    """Each JSON value, with the number of the chunk that completed it; the text `[DONE]` and its kin as strings."""
    if not is_stream:
        try:
            yield max(0, len(response.cuts) - 1), orjson.loads(decoded(response))
        except orjson.JSONDecodeError:
            return
        return
    decoder = Decoder()
    for chunk, data in enumerate(decoded_chunks(response)):
        for event in decoder.feed(data):
            try:
                yield chunk, orjson.loads(event.data)
            except orjson.JSONDecodeError:
                yield chunk, event.data


@dataclass(slots=True)
class _Collected:
    """What the values of one answer add up to."""

    pieces: dict[Field, list[Piece]] = field(default_factory=dict)
    calls: dict[int, dict[int, FunctionCall]] = field(default_factory=dict)
    finish: dict[int, str] = field(default_factory=dict)
    tokens: dict[int, list[int]] = field(default_factory=dict)
    usage: tuple[int | None, int | None, int | None] = (None, None, None)
    error: str | None = None

    def add(self, value: Json, chunk: int) -> None:
        """One event, or one whole body."""
        usage = usage_in(value)
        self.usage = (
            self.usage[0] if usage.prompt is None else usage.prompt,
            self.usage[1] if usage.completion is None else usage.completion,
            self.usage[2] if usage.cached is None else usage.cached,
        )
        if error := nested(value, "error") or (nested(nested(value, "response"), "error")):
            self.error = str(error.get("message") or error.get("type") or error)[:500]
        elif value.get("object") == "error" or value.get("type") == "error":
            self.error = str(value.get("message") or value)[:500]
        if isinstance(value.get("choices"), list):
            for choice in objects(value["choices"]):
                self._choice(choice, chunk)
            return
        if (reason := finish_in(value)) is not None:
            self.finish[0] = reason
        kind = str(value.get("type", ""))
        if kind.startswith("response."):
            self._responses_event(value, kind, chunk)
        elif kind.startswith("content_block"):
            self._messages_event(value, kind, chunk)
        else:
            self._whole(value, chunk)

    # OpenAI's chat and completions

    def _choice(self, choice: Json, chunk: int) -> None:
        index = _index(choice.get("index"))
        message = choice.get("delta") or choice.get("message") or {}
        if isinstance(message, dict):
            self._text(index, "reasoning", message.get("reasoning") or message.get("reasoning_content"), chunk)
            self._text(index, "content", message.get("content"), chunk)
            self._text(index, "refusal", message.get("refusal"), chunk)
            for place, call in enumerate(objects(message.get("tool_calls"))):
                function = nested(call, "function")
                where = _index(call.get("index"), place)
                self._call(index, where, function.get("name"), function.get("arguments"), call.get("id"))
            if isinstance(message.get("function_call"), dict):  # the API before tools
                function = message["function_call"]
                self._call(index, 0, function.get("name"), function.get("arguments"))
        self._text(index, "text", choice.get("text"), chunk)
        if isinstance(choice.get("finish_reason"), str):
            self.finish[index] = choice["finish_reason"]
        ids = choice.get("token_ids")
        if isinstance(ids, list):
            self.tokens.setdefault(index, []).extend(number for number in ids if type(number) is int)

    # OpenAI's responses

    def _responses_event(self, value: Json, kind: str, chunk: int) -> None:
        output = _index(value.get("output_index"))
        delta = value.get("delta")
        if kind == "response.function_call_arguments.delta":
            self._call(0, output, None, delta)
        elif kind == "response.output_item.added":
            item = nested(value, "item")
            if item.get("type") == "function_call":
                self._call(0, output, item.get("name"), None, item.get("call_id"))
        elif kind.endswith(".delta"):
            name = "reasoning" if "reasoning" in kind else "refusal" if "refusal" in kind else "content"
            self._text(0, name, delta, chunk)

    # Anthropic's messages

    def _messages_event(self, value: Json, kind: str, chunk: int) -> None:
        block = _index(value.get("index"))
        if kind == "content_block_start":
            start = nested(value, "content_block")
            if start.get("type") == "tool_use":
                self._call(0, block, start.get("name"), None, start.get("id"))
            return
        delta = nested(value, "delta")
        self._text(0, "content", delta.get("text"), chunk)
        self._text(0, "reasoning", delta.get("thinking"), chunk)
        if isinstance(delta.get("partial_json"), str):
            self._call(0, block, None, delta["partial_json"])

    # Whole answers of the last two

    def _whole(self, value: Json, chunk: int) -> None:
        for place, part in enumerate(objects(value.get("content"))):
            self._part(part, place, chunk)
        for place, item in enumerate(objects(value.get("output"))):
            self._part(item, place, chunk)
            for inner in objects(item.get("content")):
                name = "reasoning" if item.get("type") == "reasoning" else "content"
                self._text(0, name, inner.get("text"), chunk)

    def _part(self, part: Json, place: int, chunk: int) -> None:
        match part.get("type"):
            case "text" | "output_text":
                self._text(0, "content", part.get("text"), chunk)
            case "thinking":
                self._text(0, "reasoning", part.get("thinking"), chunk)
            case "tool_use":
                self._call(0, place, part.get("name"), orjson.dumps(part.get("input")).decode(), part.get("id"))
            case "function_call":
                self._call(0, place, part.get("name"), part.get("arguments"), part.get("call_id"))

    def _text(self, choice: int, name: str, text: object, chunk: int) -> None:
        if isinstance(text, str) and text:
            self.pieces.setdefault((choice, name), []).append(Piece(text, chunk))

    def _call(self, choice: int, place: int, name: object, arguments: object, id: object = None) -> None:
        call = self.calls.setdefault(choice, {}).setdefault(place, FunctionCall())
        call.name += name if isinstance(name, str) else ""
        call.arguments += arguments if isinstance(arguments, str) else ""
        call.id = id if isinstance(id, str) and id else call.id


def _index(value: object, otherwise: int = 0) -> int:
    """The number of a choice or a call; a stranger's may be of any type and size."""
    return value if type(value) is int and 0 <= value < 2**31 else otherwise


def texts_by_name(response: Response) -> dict[str, str]:
    """The texts of an answer that a client may send on: by what they are, such as `content 0` and `call 0 0 id`.

    The content may be empty; nothing else is.
    """
    content = content_of(response)
    empty = {f"content {choice}": "" for choice in content.finish}
    texts = {f"{name} {choice}": content.text((choice, name)) for choice, name in content.pieces}
    for choice, calls in content.calls.items():
        for place, call in enumerate(calls):
            texts |= {f"call {choice} {place} id": call.id, f"call {choice} {place} arguments": call.arguments}
    return empty | {name: text for name, text in texts.items() if text}
