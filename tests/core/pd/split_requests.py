"""What clients ask in the tests of the protocols, and what each request is when it is cut to its prefill."""

from __future__ import annotations

from typing import Any

import orjson

from replayproxy.core.pd import PairServer, SplitRequest, opened
from replayproxy.model import Headers, Request

PREFILL = PairServer("http://p1:8100", "p1", "10.0.0.1:21001", "http://p1:8998", "engine-7", "3")
DECODE = PairServer("http://d1:8200", "d1", "10.0.0.2:22001")
MINT = "0123456789abcdef0123456789abcdef"
ID = "req-1"

SENT: Headers = (
    ("Content-Type", "application/json"),
    ("Authorization", "Bearer secret"),
    ("Accept-Encoding", "gzip"),
    ("X-Request-Id", "req-1"),
    ("x-request-id", "req-2"),
    ("Content-Length", "999"),
    ("Expect", "100-continue"),
    ("X-Tenant", "é"),
)
"""What a client may send: an id twice, a length that will be wrong, a wish for compression, its own field."""

CUT_FIELDS: Headers = (
    ("Content-Type", "application/json"),
    ("Authorization", "Bearer secret"),
    ("X-Tenant", "é"),
    ("X-Request-Id", "req-1"),
)
"""Of a prefill request: one id, the last line; no compression, for we read the answer; the length is told anew."""

WHOLE_FIELDS: Headers = (
    ("Content-Type", "application/json"),
    ("Authorization", "Bearer secret"),
    ("Accept-Encoding", "gzip"),
    ("X-Tenant", "é"),
    ("X-Request-Id", "req-1"),
)
"""Of a decode request with a new body."""

CHAT, TEXT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"

TURN = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
RICH = {"n": 3, "tools": [TOOL], "response_format": SCHEMA, "logprobs": True, "stop": ["x"], "of_a_vendor": None}

Body = dict[str, Any]

CUTS: dict[str, tuple[str, Body, Body]] = {
    "chat": (
        CHAT,
        {"model": "m", "messages": TURN, "max_tokens": 64, "temperature": 0.7},
        {"model": "m", "messages": TURN, "max_tokens": 1, "temperature": 0.7, "stream": False},
    ),
    "chat without a cap": (
        CHAT,
        {"model": "m", "messages": TURN},
        {"model": "m", "messages": TURN, "max_tokens": 1, "stream": False},
    ),
    "chat with the newer cap": (
        CHAT,
        {"model": "m", "messages": TURN, "max_completion_tokens": 64},
        {"model": "m", "messages": TURN, "max_completion_tokens": 1, "max_tokens": 1, "stream": False},
    ),
    "streamed chat": (
        CHAT,
        {"model": "m", "messages": TURN, "stream": True, "stream_options": {"include_usage": True}},
        {"model": "m", "messages": TURN, "stream": False, "max_tokens": 1},
    ),
    "everything else is kept": (
        CHAT,
        {"model": "m", "messages": TURN, **RICH},
        {"model": "m", "messages": TURN, **RICH, "stream": False, "max_tokens": 1},
    ),
    "least tokens above the cap": (
        TEXT,
        {"model": "m", "prompt": "hi", "min_tokens": 5, "max_tokens": 9},
        {"model": "m", "prompt": "hi", "min_tokens": 1, "max_tokens": 1, "stream": False},
    ),
    "least tokens within the cap": (
        TEXT,
        {"model": "m", "prompt": "hi", "min_tokens": 0},
        {"model": "m", "prompt": "hi", "min_tokens": 0, "max_tokens": 1, "stream": False},
    ),
    "token ids": (
        TEXT,
        {"model": "m", "prompt": [1, 2, 3]},
        {"model": "m", "prompt": [1, 2, 3], "max_tokens": 1, "stream": False},
    ),
    "responses": (
        RESPONSES,
        {"model": "m", "input": "hi", "max_output_tokens": 64, "stream": True},
        {"model": "m", "input": "hi", "max_output_tokens": 1, "stream": False},
    ),
    "messages": (
        MESSAGES,
        {"model": "m", "messages": TURN, "max_tokens": 64, "system": "be brief", "stream": True},
        {"model": "m", "messages": TURN, "max_tokens": 1, "system": "be brief", "stream": False},
    ),
}
"""Endpoint, what a client asks, and the same cut to one token in one piece."""


def split_request(path: str, body: Body | bytes, *, headers: Headers = SENT, request_id: str = ID) -> SplitRequest:
    """A request that is to be split between the two parties."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    request = Request("POST", path, headers, content)
    value = opened(request)
    assert value is not None
    return SplitRequest(request, value, request_id, MINT, PREFILL, DECODE)


def parts_of(request: Request) -> tuple[str, str, Headers, Any]:
    """A request with its body read: method, target, field lines, JSON."""
    return request.method, request.target, request.headers, orjson.loads(request.body)
