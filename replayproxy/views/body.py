"""A recorded body as people read it: as text if it is text; of an answer, the text that the model produced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from replayproxy.core import headers
from replayproxy.core.coding import decoded, decoded_chunks
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.sse import Decoder
from replayproxy.core.dialects.table import text_in
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Headers, Response


def as_text(body: bytes) -> str | None:
    """The body as UTF-8 text, or None if it is not text."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def pretty(body: bytes) -> bytes:
    """JSON with one value per line; anything else unchanged."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # what was read may be nested too deep to be written
        return body


@dataclass(frozen=True, slots=True)
class ChoiceText:
    """One choice of an answer: its index among `n`, and its text."""

    choice: int
    text: str


def texts_of(response: Response) -> list[ChoiceText]:
    """The text of each choice (`n > 1` has several), with reasoning and tool calls in the order in which they came."""
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
            index = choice.get("index") if isinstance(choice, dict) else 0
            texts.setdefault(index if type(index) is int else 0, []).append(text_in({"choices": [choice]}))
    return [ChoiceText(choice, text) for choice, pieces in sorted(texts.items()) if (text := "".join(pieces))]


def text_of_chunks(response: Response) -> Iterator[str | None]:
    """For each chunk of an event stream, the text of the events that it completes; None if there is none."""
    if not is_event_stream(response.headers):
        yield from (None for _ in response.cuts)
        return
    decoder = Decoder()
    for data in decoded_chunks(response):
        yield "".join(text_in(parsed(event.data.encode())) for event in decoder.feed(data)) or None


def content_coding(fields: Headers) -> str | None:
    """The content coding of a stored body, if it has one."""
    return headers.get(fields, "content-encoding")
