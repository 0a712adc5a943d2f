"""A cassette with the requests of two conversations, for the tests of benchmark formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from replayproxy.model import Chunk, Head, Request
from tests.cli.tapes import JSON, MS, STREAM, answer, chat, event, piece, writing

FIRST = [{"role": "user", "content": "What is a cassette?"}]
SECOND = [*FIRST, {"role": "assistant", "content": "A tape."}, {"role": "user", "content": "And a player?"}]


def request(messages: Sequence[dict[str, str]], **more: Any) -> Request:
    """A chat."""
    body = {"model": "tiny", "messages": list(messages), "stream": True, **more}
    return Request("POST", "/v1/chat/completions", JSON, orjson.dumps(body))


def conversations(path: Path) -> Path:
    """Two turns of one conversation, another one in between, an error, a list of models, a completion with ids."""
    ids = {"prompt_token_ids": list(range(1000)), "choices": []}
    pieces = [
        event(ids),
        *(event({"choices": [{"index": 0, "text": w, "token_ids": [n, n + 1]}]}) for n, w in ((5, "a"), (8, "b"))),
    ]
    last = event({"choices": [{"index": 0, "text": "", "finish_reason": "stop", "stop_reason": 7}]})
    usage = event({"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 4}})
    chunks = [Chunk((10 + 10 * n) * MS, data) for n, data in enumerate([*pieces, last + usage + b"data: [DONE]\n\n"])]
    completion = Request("POST", "/v1/completions", JSON, b'{"model":"tiny","prompt":"x","stream":true}')
    with writing(path) as keep:
        keep(
            chat("What is a cassette?", usage=(700, 3), started=0),
            chat("Another one", usage=(20, 3), started=500),
            answer(Request("GET", "/v1/models"), b"{}", started=600),
            answer(request(FIRST, n=1), b'{"error":{}}', status=500, started=700),
            piece(
                request(SECOND),
                Head(50 * MS, 200, STREAM),
                [Chunk(60 * MS, event({"choices": []}))],
                60 * MS,
                started=1000,
            ),
            piece(completion, Head(5 * MS, 200, STREAM), chunks, 50 * MS, started=1500),
        )
    return path
