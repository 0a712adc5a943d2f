"""A recorded body as people read it: as text where it is text, and as what the model said where it is an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from replayproxy.core import headers
from replayproxy.core.coding import decoded, decoded_chunks
from replayproxy.core.dialects.facts import is_event_stream, parsed, text_in
from replayproxy.core.dialects.sse import Decoder
from replayproxy.model import Headers, Response


def as_text(body: bytes) -> str | None:
    """UTF-8 text, or None where it is something else."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def pretty(body: bytes) -> bytes:
    """JSON with a line a value; anything else as it is."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # what was read may be nested too deep to be written
        return body


@dataclass(frozen=True, slots=True)
class Said:
    """One choice of an answer: its place among `n`, and its text."""

    choice: int
    text: str


def texts_of(response: Response) -> list[Said]:
    """What the model said, each choice of `n > 1` by itself; tool calls and reasoning as they came."""
    if is_event_stream(response.headers):
        decoder = Decoder()
        values = [parsed(event.data.encode()) for data in decoded_chunks(response) for event in decoder.feed(data)]
    else:
        values = [parsed(decoded(response))]
    texts: dict[int, list[str]] = {}
    for value in values:
        choices = value.get("choices")
        if not isinstance(choices, list) or not choices:
            texts.setdefault(0, []).append(text_in(value))
            continue
        for choice in choices:
            place = choice.get("index") if isinstance(choice, dict) else 0
            texts.setdefault(place if type(place) is int else 0, []).append(text_in({"choices": [choice]}))
    return [Said(choice, text) for choice, pieces in sorted(texts.items()) if (text := "".join(pieces))]


def text_of_chunks(response: Response) -> Iterator[str | None]:
    """What each chunk says, where the answer is a stream of events: the text of those it completes; None for none."""
    if not is_event_stream(response.headers):
        yield from (None for _ in response.cuts)
        return
    decoder = Decoder()
    for data in decoded_chunks(response):
        yield "".join(text_in(parsed(event.data.encode())) for event in decoder.feed(data)) or None


def content_coding(fields: Headers) -> str | None:
    """The coding a body is stored in, where it has one."""
    return headers.get(fields, "content-encoding")
