"""What the tests ask a pair through the proxy, and what the right answer is."""

from __future__ import annotations

from typing import Any

import orjson

from replayproxy.core.dialects.sse import events_of
from replayproxy.core.dialects.table import text_in
from replayproxy.model import Request
from tests import wire
from tests.doubles.pair_model import CHAT, MESSAGES, MODEL, RESPONSES, TEXT, text

ENDPOINTS = (CHAT, TEXT, RESPONSES, MESSAGES)


def ask(path: str, words: str, *headers: tuple[str, str], **more: Any) -> Request:
    """A request at one of the four endpoints."""
    turn = [{"role": "user", "content": words}]
    said: dict[str, dict[str, Any]] = {
        CHAT: {"messages": turn},
        TEXT: {"prompt": words},
        RESPONSES: {"input": words},
        MESSAGES: {"messages": turn, "max_tokens": 16},
    }
    return wire.post(path, {"model": MODEL, **said[path], **more}, *headers)


def answer_to(request: Request) -> str:
    """What one server alone says."""
    body = orjson.loads(request.body)
    prompt = body.get("prompt", body.get("input", body.get("messages")))
    return text(prompt if isinstance(prompt, str) else orjson.dumps(prompt).decode())


def said(body: bytes) -> str:
    """The text of an answer, streamed or not."""
    if not body.startswith((b"data:", b"event:")):
        return text_in(orjson.loads(body))
    events = (event.data for event in events_of([body]))
    return "".join(text_in(orjson.loads(data)) for data in events if data != "[DONE]" and "completed" not in data)
