"""What the real model said in the engine, as exchanges: token ids, logprobs, the time and the size of each step.

An exchange has the form of vLLM's own `/inference/v1/generate` (token ids in, token ids out), so that `ls`, `show` and
`drive` know it; a field `step` in each event adds how long the step took and how many requests were in it. The engine
is not told why a request ended: that is derived from its last token. Knows no vLLM, no file and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from replayproxy.core.dialects.sse import encode
from replayproxy.model import Chunk, End, Ending, Exchange, Head, Request, Response
from replayproxy.vllm_plugin.recording_index import EngineRequest

ENDPOINT = "/inference/v1/generate"

DecodeTokens = Callable[[Sequence[int]], str]
"""Returns the text of tokens."""


class CapturedTokens(NamedTuple):
    """What one request got in one step. `logprobs`: per token, pairs of id and logprob, its own first."""

    id: str
    tokens: Sequence[int]
    logprobs: Sequence[Sequence[tuple[int, float]]] = ()


@dataclass(slots=True)
class _Captured:
    request: EngineRequest
    body: bytes
    started_at: int
    recorded_at: int
    tokens: list[int] = field(default_factory=list)
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


class EngineCapture:
    """Requests of the real model between their first step and their end."""

    def __init__(self, model: str, decode: DecodeTokens) -> None:
        self._model = model
        self._decode = decode
        self._running: dict[str, _Captured] = {}

    def begin(self, id: str, request: EngineRequest, params: Mapping[str, Any], now: int, today: int) -> None:
        """A request is scheduled for the first time. One that is known was preempted, and goes on."""
        if id in self._running:
            return
        body: dict[str, Any] = {
            "request_id": id,
            "model": self._model if request.lora is None else request.lora,
            "token_ids": list(request.prompt),
            "sampling_params": dict(params),
            "stream": True,
        }
        if request.media:
            body["features"] = {"mm_hashes": {"media": list(request.media)}}
        self._running[id] = _Captured(request, orjson.dumps(body), now, today)

    def step(self, rows: Iterable[CapturedTokens], started_at: int, now: int, batch: int) -> None:
        """A step of `batch` requests has ended."""
        for row in rows:
            captured = self._running.get(row.id)
            if captured is None or not row.tokens:
                continue
            captured.tokens += row.tokens
            choice: dict[str, Any] = {"index": 0, "token_ids": list(row.tokens), "finish_reason": None}
            if row.logprobs:
                choice["logprobs"] = {"content": list(map(_position, row.logprobs))}
            step = {"ms": round((now - started_at) / 1e6, 3), "batch": batch}
            captured.events.append(
                (now - captured.started_at, {"request_id": row.id, "choices": [choice], "step": step})
            )

    @property
    def running(self) -> list[str]:
        """The ids of the requests that have not ended."""
        return list(self._running)

    def finish(self, ids: Iterable[str], now: int) -> list[Exchange]:
        """Return the exchanges of requests that have ended."""
        ended = [self._running.pop(id) for id in ids if id in self._running]
        return [self._exchange(captured, now) for captured in ended]

    def _exchange(self, captured: _Captured, now: int) -> Exchange:
        finish, stop_reason = self._end_of(captured)
        chunks = []
        for number, (at, event) in enumerate(captured.events, 1):
            if number == len(captured.events):
                event["choices"][0] |= {"finish_reason": finish, "stop_reason": stop_reason}
            chunks.append(Chunk(at, encode(orjson.dumps(event))))
        last = chunks[-1].at if chunks else now - captured.started_at
        ending = Ending.COMPLETE if finish is not None else Ending.CLIENT_LEFT
        if finish is not None:
            prompt, completion = len(captured.request.prompt), len(captured.tokens)
            counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
            chunks.append(Chunk(last, encode(orjson.dumps({"choices": [], "usage": counts}))))
            chunks.append(Chunk(last, encode(b"[DONE]")))
        head = Head(chunks[0].at if chunks else last, 200, (("content-type", "text/event-stream; charset=utf-8"),))
        request = Request("POST", ENDPOINT, (("content-type", "application/json"),), captured.body)
        response = Response.of(head, chunks, End(last, ending))
        return Exchange(request, response, captured.recorded_at, client_left=finish is None)

    def _end_of(self, captured: _Captured) -> tuple[str | None, int | str | None]:
        """Why a request ended, and at which stop; None: its client left, or it was aborted."""
        request, tokens = captured.request, captured.tokens
        if tokens and tokens[-1] == request.eos:
            return "stop", None
        if tokens and tokens[-1] in request.stop:
            return "stop", tokens[-1]
        if request.max_tokens is not None and len(tokens) >= request.max_tokens:
            return "length", None
        text = self._decode(tokens)
        found = [(place, stop) for stop in request.stop if isinstance(stop, str) and (place := text.find(stop)) >= 0]
        if found:
            return "stop", min(found)[1]
        return None, None


def _position(pairs: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """One token's logprobs, as generate spells them."""
    (token, logprob), *_ = pairs
    top = [{"token_id": id, "logprob": value} for id, value in pairs[1:]]
    return {"token_id": token, "logprob": logprob, "top_logprobs": top}
