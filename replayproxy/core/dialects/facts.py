"""Read the dialects that vLLM speaks: chat, completions, responses (OpenAI) and messages (Anthropic).

Reading only, for statistics and people; and the error envelope that clients expect of us. Which event ends a stream is
known to `stream_end`. Nothing here touches what is passed on, and nothing here fails: what cannot be read is simply not
known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from replayproxy.core.coding import body_of, decoded, decoded_chunks
from replayproxy.core.dialects.sse import Decoder, Event, events_of
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Request, Response

ENDING = 4
"""Events at the end of a stream in which usage and finish reason are looked for: vLLM's last four have them."""

SHORT = 2 * 1024
"""Bytes from the end in which they usually stand; if not, twice as many are looked at, and so on."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What `ls`, `stats` and SQL want to know of an exchange without unpacking it. None = not said.

    `first_content` is ns since the request was complete: the first event with content, the start of TTFT's end.
    `transfer` names the hand-over of a prefill to a decode: both legs of a pair say the same.
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
    """OpenAI's error envelope."""
    return orjson.dumps({"error": {"message": message, "type": type, "param": param, "code": code}})


def parsed(body: bytes) -> dict[str, Any]:
    """A JSON object, or nothing."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


# One event, one body


def text_in(value: dict[str, Any]) -> str:
    """The text that an event or a whole body adds to the answer, reasoning and tool arguments included."""
    parts: list[str] = []
    for choice in _dicts(value.get("choices")):
        said = choice.get("delta") or choice.get("message") or {}
        if isinstance(said, dict):
            # Where both names of the reasoning are given, they say the same.
            parts += _strings(said.get("reasoning") or said.get("reasoning_content"), said.get("content"))
            for call in _dicts(said.get("tool_calls")):
                function = call.get("function")
                if isinstance(function, dict):
                    parts += _strings(function.get("name"), function.get("arguments"))
        parts += _strings(choice.get("text"))
    if str(value.get("type", "")).endswith(".delta"):
        parts += _strings(value.get("delta"))
    delta = value.get("delta")
    if value.get("type") == "content_block_delta" and isinstance(delta, dict):
        parts += _strings(delta.get("text"), delta.get("thinking"), delta.get("partial_json"))
    for item in _dicts(value.get("output")):
        for part in _dicts(item.get("content")):
            parts += _strings(part.get("text"))
    for part in _dicts(value.get("content")):
        parts += _strings(part.get("text"))
    return "".join(parts)


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _strings(*values: object) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _usage(value: dict[str, Any]) -> tuple[int | None, int | None, int | None]:
    inner = value.get("response") or value.get("message")
    usage = value.get("usage") or (inner.get("usage") if isinstance(inner, dict) else None)
    if not isinstance(usage, dict):
        return None, None, None
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return (
        _count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        _count(usage.get("completion_tokens", usage.get("output_tokens"))),
        _count(cached if cached is not None else usage.get("cache_read_input_tokens")),
    )


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def _finish(value: dict[str, Any]) -> str | None:
    for choice in _dicts(value.get("choices")):
        if isinstance(choice.get("finish_reason"), str):
            return str(choice["finish_reason"])
    delta = value.get("delta")
    if isinstance(delta, dict) and isinstance(delta.get("stop_reason"), str):
        return str(delta["stop_reason"])
    if isinstance(value.get("stop_reason"), str):
        return str(value["stop_reason"])
    inner = value.get("response", value)
    if isinstance(inner, dict) and str(inner.get("object")) == "response" and isinstance(inner.get("status"), str):
        return str(inner["status"])
    return None


# A whole exchange


def text_of(response: Response) -> str:
    """The text of an answer, streamed or not. Choices of `n > 1` follow one another as they came."""
    if is_event_stream(response.headers):
        return "".join(text_in(_read(event)) for event in events_of([decoded(response)]))
    return text_in(parsed(decoded(response)))


def events_at(response: Response) -> Iterator[tuple[int, Event]]:
    """Each event with the time of the chunk that completed it."""
    decoder = Decoder()
    for at, data in zip(response.timeline.chunks, decoded_chunks(response), strict=True):
        for event in decoder.feed(data):
            yield at, event


def facts_of(request: Request, response: Response) -> Facts:
    """Read what is worth a column. Looks at the first events (up to the first with content) and at the last ones."""
    name, wants_stream, presented = asked_facts(request)
    if not is_event_stream(response.headers):
        body = parsed(decoded(response))
        prompt, completion, cached = _usage(body)
        transfer = transfer_of({}, body) if presented is None else presented
        return Facts(name, wants_stream, prompt, completion, cached, _finish(body), transfer=transfer)
    ends = _ending_of(decoded(response))
    first, first_content = _beginning_of(response)
    usage: tuple[int | None, ...] = (None, None, None)
    for value in (first, *ends):
        usage = tuple(old if new is None else new for new, old in zip(_usage(value), usage, strict=True))
    return Facts(
        model=name,
        stream=True,
        prompt_tokens=usage[0],
        completion_tokens=usage[1],
        cached_tokens=usage[2],
        finish=_last(_finish(value) for value in ends),
        first_content=first_content,
        transfer=presented,
    )


def asked_facts(request: Request) -> tuple[str | None, bool, str | None]:
    """What a request says: the model, whether the answer shall be a stream, the transfer whose ticket it presents."""
    if request.prepared is not None:
        known = request.prepared[1]
        return known.model, known.stream, known.transfer
    asked = parsed(body_of(request))
    model = asked.get("model")
    return model if isinstance(model, str) else None, bool(asked.get("stream")), transfer_of(asked, {})


def transfer_of(asked: dict[str, Any], said: dict[str, Any]) -> str | None:
    """What joins two legs: transfer id or room, else the id of the prefill's request, which its ticket carries.

    A prefill hands the ticket out in its answer, a decode presents it in its request (vLLM's NIXL connector).
    """
    presented, handed_out = asked.get("kv_transfer_params"), said.get("kv_transfer_params")
    wanted = presented if isinstance(presented, dict) else {}
    given = handed_out if isinstance(handed_out, dict) else {}
    for name in (
        wanted.get("transfer_id"),
        asked.get("bootstrap_room"),
        wanted.get("remote_request_id"),
        given.get("remote_request_id"),
    ):
        if isinstance(name, str | int) and not isinstance(name, bool):
            return str(name)[:200]
    return None


def _read(event: Event) -> dict[str, Any]:
    return parsed(event.data.encode())


def _beginning_of(response: Response) -> tuple[dict[str, Any], int | None]:
    """The first event, and when there was one with content."""
    first: dict[str, Any] | None = None
    for at, event in events_at(response):
        value = _read(event)
        first = value if first is None else first
        if text_in(value):
            return first, at
    return first or {}, None


def _ending_of(body: bytes) -> list[dict[str, Any]]:
    """The last four events with JSON in them, or all there are.

    Read from further and further back, in all from twice the bytes that are needed: at its end `/responses` says the
    whole answer again, and a server may send comments for as long as the client stays.
    """
    size = SHORT
    while True:
        # The first one may be the rest of an event that began before: then it is no JSON, and does not count.
        values = [value for event in events_of([body[-size:]]) if (value := _read(event))]
        if len(values) >= ENDING or size >= len(body):
            return values
        size *= 2


def _last(values: Iterable[str | None]) -> str | None:
    said = None
    for value in values:
        said = value or said
    return said
