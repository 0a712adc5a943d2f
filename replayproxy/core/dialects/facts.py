"""Read the facts of an exchange that have a column: model, token counts, finish reason, time to first content.

Also the error envelope that clients expect. Nothing here changes what is passed on, and nothing fails: what cannot be
read counts as absent. The dialects themselves are in `table`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from replayproxy.core.coding import body_of, decoded, decoded_chunks
from replayproxy.core.dialects.dialect import Usage, nested
from replayproxy.core.dialects.sse import Decoder, Event, events_of
from replayproxy.core.dialects.table import finish_in, text_in, usage_in
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Request, Response

LAST_EVENTS = 4
"""Number of events at the end of a stream that are searched for usage and finish reason: vLLM sends them in its last
four."""

TAIL_BYTES = 2 * 1024
"""Bytes from the end that usually contain these events; if not, twice as many are read, and so on."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What `ls`, `stats` and SQL show of an exchange without unpacking it. None = not stated.

    `first_content` is in ns since the request was complete: the time of the first event with content (TTFT). `transfer`
    names the KV transfer of a prefill/decode pair, equal for both legs.
    """

    model: str | None = None
    stream: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    finish: str | None = None
    first_content: int | None = None
    transfer: str | None = None


def error_body(message: str, *, type: str, code: str, param: str | None = None) -> bytes:
    """Return OpenAI's error envelope."""
    return orjson.dumps({"error": {"message": message, "type": type, "param": param, "code": code}})


def parsed(body: bytes) -> dict[str, Any]:
    """Return a JSON object; empty if the body is not one."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


# A whole exchange


def text_of(response: Response) -> str:
    """Return the text of an answer, streamed or not. With `n > 1` the choices are interleaved as received."""
    if is_event_stream(response.headers):
        return "".join(text_in(_read(event)) for event in events_of([decoded(response)]))
    return text_in(parsed(decoded(response)))


def events_at(response: Response) -> Iterator[tuple[int, Event]]:
    """Yield each event with the time of the chunk that completed it."""
    decoder = Decoder()
    for at, data in zip(response.timeline.chunks, decoded_chunks(response), strict=True):
        for event in decoder.feed(data):
            yield at, event


def facts_of(request: Request, response: Response) -> Facts:
    """Return the facts of an exchange. Reads the first events (up to the first with content) and the last ones."""
    name, is_stream_requested, presented = request_facts(request)
    if not is_event_stream(response.headers):
        body = parsed(decoded(response))
        prompt, completion, cached = usage_in(body)
        transfer = transfer_of({}, body) if presented is None else presented
        return Facts(name, is_stream_requested, prompt, completion, cached, finish_in(body), transfer=transfer)
    ends = _last_events(decoded(response))
    first, first_content = _first_events(response)
    usage = Usage()
    for value in (first, *ends):
        usage = Usage(*(old if new is None else new for new, old in zip(usage_in(value), usage, strict=True)))
    return Facts(
        model=name,
        stream=True,
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        cached_tokens=usage.cached,
        finish=next((reason for value in reversed(ends) if (reason := finish_in(value))), None),
        first_content=first_content,
        transfer=presented,
    )


def request_facts(request: Request) -> tuple[str | None, bool, str | None]:
    """Return model, whether a stream is requested, and the transfer whose ticket the request presents."""
    if request.prepared is not None:
        prepared = request.prepared[1]
        return prepared.model, prepared.stream, prepared.transfer
    body = parsed(body_of(request))
    model = body.get("model")
    return model if isinstance(model, str) else None, bool(body.get("stream")), transfer_of(body, {})


def transfer_of(request: dict[str, Any], answer: dict[str, Any]) -> str | None:
    """Return what joins two legs: transfer id or room, else the id of the prefill's request, which its ticket carries.

    A prefill hands the ticket out in its answer, a decode presents it in its request (vLLM's NIXL connector).
    """
    presented, handed_out = nested(request, "kv_transfer_params"), nested(answer, "kv_transfer_params")
    for name in (
        presented.get("transfer_id"),
        request.get("bootstrap_room"),
        presented.get("remote_request_id"),
        handed_out.get("remote_request_id"),
    ):
        if isinstance(name, str | int) and not isinstance(name, bool):
            return str(name)[:200]
    return None


def _read(event: Event) -> dict[str, Any]:
    return parsed(event.data.encode())


def _first_events(response: Response) -> tuple[dict[str, Any], int | None]:
    """Return the first event, and the time of the first event with content."""
    first: dict[str, Any] | None = None
    for at, event in events_at(response):
        value = _read(event)
        first = value if first is None else first
        if text_in(value):
            return first, at
    return first or {}, None


def _last_events(body: bytes) -> list[dict[str, Any]]:
    """Return the last four events that contain JSON, or all of them if there are fewer.

    The tail is doubled until it suffices, so at most twice the needed bytes are read: the last event of `/responses`
    repeats the whole answer, and a server may send comments for as long as the client stays.
    """
    size = TAIL_BYTES
    while True:
        # The first one may be the rest of an event that began before: then it is no JSON, and does not count.
        events = list(events_of([body[-size:]]))
        values: list[dict[str, Any]] = []
        while events and len(values) < LAST_EVENTS:
            if value := _read(events.pop()):
                values.append(value)
        if len(values) == LAST_EVENTS or size >= len(body):
            return values[::-1]
        size *= 2
