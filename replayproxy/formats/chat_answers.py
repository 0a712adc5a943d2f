"""Chats made of what logs have kept: a request with its parameters, and an answer that is a stream if it is to be one.

Logs keep messages as values. The answer becomes a chat completion; for a request with `stream` it becomes three
events: the message, the finish reason with the usage, and `[DONE]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from replayproxy.core.dialects.sse import encode
from replayproxy.formats.bodies import (
    CHAT,
    JSON_FIELDS,
    STREAM_FIELDS,
    json_bytes,
    json_request,
    streamed_answer,
    whole_answer,
)
from replayproxy.model import Exchange, Request, Response


def chat_request(body: Mapping[str, Any], target: str = CHAT) -> Request:
    """A request with these values. Raises `ValueError`."""
    return json_request({name: value for name, value in body.items() if value is not None}, target)


def completion_of(
    message: Mapping[str, Any], model: str, finish: str, usage: object = None, id: str = ""
) -> dict[str, Any]:
    """A chat completion with one choice."""
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}
    answer: dict[str, Any] = {
        "id": id or "chatcmpl-imported",
        "object": "chat.completion",
        "created": 0,
        "model": model,
    }
    return answer | {"choices": [choice]} | ({"usage": usage} if isinstance(usage, dict) else {})


def chat_exchange(
    request: Request, answer: Mapping[str, Any], at: int, *, status: int = 200, first: int = 0, end: int = 0
) -> Exchange:
    """An exchange whose answer began at `first` ns and ended at `end`; a stream if the request asks for one."""
    if status < 400 and b'"stream":true' in request.body:
        return Exchange(request, streamed_chat(answer, first, max(first, end)), at)
    return Exchange(request, whole_answer(status, JSON_FIELDS, json_bytes(answer), first, max(first, end)), at)


def streamed_chat(
    answer: Mapping[str, Any], first: int, end: int, gaps: Sequence[int] = (), pieces: Sequence[str] = ()
) -> Response:
    """A chat completion as a stream. `pieces` are those of its text, of which each but the first came after a gap."""
    events, times = list[bytes](), list[int]()
    frame = {name: answer[name] for name in ("id", "created", "model") if name in answer}
    frame["object"] = "chat.completion.chunk"
    for choice in answer.get("choices") or ():
        message = dict(choice.get("message") or {})
        if pieces:
            message["content"] = pieces[0]
        deltas: list[Mapping[str, Any]] = [_numbered(message), *({"content": piece} for piece in pieces[1:])]
        for at, delta in zip(accumulate((first, *gaps)), deltas, strict=True):
            events.append(_event(frame, {"index": choice.get("index", 0), "delta": delta, "finish_reason": None}))
            times.append(at)
        finish = {"index": choice.get("index", 0), "delta": {}, "finish_reason": choice.get("finish_reason")}
        events.append(_event(frame, finish))
        times.append(max(end, times[-1]))
    last = max([end, *times])
    if answer.get("usage"):
        events.append(encode(json_bytes({**frame, "choices": [], "usage": answer["usage"]})))
        times.append(last)
    return streamed_answer([*events, encode(b"[DONE]")], [*times, last], STREAM_FIELDS, head=min([first, *times]))


def _event(frame: Mapping[str, Any], choice: Mapping[str, Any]) -> bytes:
    return encode(json_bytes({**frame, "choices": [choice]}))


def _numbered(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as a delta: its tool calls have indexes."""
    delta = {name: value for name, value in message.items() if value is not None}
    if isinstance(calls := delta.get("tool_calls"), list):
        delta["tool_calls"] = [
            {"index": place, **call} if isinstance(call, dict) else call for place, call in enumerate(calls)
        ]
    return delta
