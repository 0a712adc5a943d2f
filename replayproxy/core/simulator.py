"""Invent a Response: what a vLLM could have answered, as bytes on the wire and moments in time.

The seed of a simulator: chat and completions, streaming and not, the model list. The text is words, not sense; the
frames, their order and their fields are those of vLLM 0.32. Everything follows from the request and the seed, so the
same request gets the same answer.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

import orjson

from replayproxy.core.coding import body_of
from replayproxy.core.dialects.facts import error_body, parsed
from replayproxy.core.dialects.sse import encode
from replayproxy.core.latency import Latency
from replayproxy.model import Headers, Request, Response, Timeline

_WORDS = """
the a of and to in is it that for on with as by at from or an be this which one two all more new time light water
stone river road house letter music garden number signal engine letter paper window morning evening winter summer slow
quick bright quiet early late green silver hidden open small large first last turns keeps opens carries finds moves
holds brings follows answers begins waits
""".split()  # noqa: SIM905 - a list of words on one page, not on seventy lines

_CREATED = 1_700_000_000
"""A fixed moment: an invented answer must not depend on when it is invented."""

_STREAM: Headers = (("Content-Type", "text/event-stream; charset=utf-8"),)


@dataclass(frozen=True, slots=True)
class Simulator:
    """Answers as a server with this one model would. Raises nothing: what it does not know gets vLLM's 404."""

    model: str
    latency: Latency = field(default_factory=Latency)
    seed: int = 0
    default_tokens: int = 64

    def invent(self, request: Request) -> Response:
        """The answer to a request."""
        body = parsed(body_of(request))
        match request.method, request.path:
            case "GET", "/v1/models":
                return _whole(200, orjson.dumps(self._models()), 0)
            case "POST", "/v1/chat/completions" | "/v1/completions":
                if body.get("model", self.model) != self.model:
                    message = f"The model `{body['model']}` does not exist."
                    return _whole(404, error_body(message, type="NotFoundError", code="404", param="model"), 0)
                return self._generate(request, body, chat=request.path.endswith("chat/completions"))
            case _:
                return _whole(404, orjson.dumps({"detail": "Not Found"}), 0)

    def _models(self) -> dict[str, Any]:
        model = {"id": self.model, "object": "model", "created": _CREATED, "owned_by": "vllm", "root": self.model}
        return {"object": "list", "data": [model]}

    def _generate(self, request: Request, body: dict[str, Any], *, chat: bool) -> Response:
        digest = hashlib.blake2b(self.seed.to_bytes(8, "big") + body_of(request), digest_size=16).digest()
        draw = random.Random(digest)
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        tokens = limit if isinstance(limit, int) and limit > 0 else self.default_tokens
        words = [(" " if position else "") + draw.choice(_WORDS) for position in range(tokens)]
        prompt_tokens = len(body_of(request)) // 4
        usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens + tokens, "completion_tokens": tokens}
        moments = self.latency.moments(tokens, int.from_bytes(digest[:8], "big"))
        frames = _Frames(self.model, f"{'chatcmpl' if chat else 'cmpl'}-{digest.hex()[:16]}", chat)
        if not body.get("stream"):
            return _whole(200, frames.whole("".join(words), usage), moments[-1])
        chunks = [frames.first()] if chat else []
        at = [moments[0]] if chat else []
        for position, (word, moment) in enumerate(zip(words, moments, strict=True), 1):
            chunks.append(frames.token(word, "length" if position == tokens else None))
            at.append(moment)
        options = body.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage"):
            chunks.append(frames.usage(usage))
            at.append(moments[-1])
        chunks.append(encode(b"[DONE]"))
        at.append(moments[-1])
        timeline = Timeline(head=moments[0], chunks=tuple(at), end=moments[-1])
        return Response(200, _STREAM, b"".join(chunks), tuple(map(len, chunks)), timeline)


@dataclass(frozen=True, slots=True)
class _Frames:
    """The JSON of one answer, in vLLM's field order."""

    model: str
    id: str
    chat: bool

    def first(self) -> bytes:
        return self._event(
            [{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}]
        )

    def token(self, text: str, finish: str | None) -> bytes:
        content: dict[str, Any] = {"delta": {"content": text}} if self.chat else {"text": text}
        end = {"stop_reason": None} if finish or not self.chat else {}
        return self._event([{"index": 0, **content, "logprobs": None, "finish_reason": finish, **end}])

    def usage(self, usage: dict[str, int]) -> bytes:
        return self._event([], usage=usage)

    def whole(self, text: str, usage: dict[str, int]) -> bytes:
        content: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": "length", "stop_reason": None}
        kind = "chat.completion" if self.chat else "text_completion"
        return orjson.dumps(self._envelope(kind) | {"choices": [choice], "usage": usage})

    def _event(self, choices: list[dict[str, Any]], **more: object) -> bytes:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return encode(orjson.dumps(self._envelope(kind) | {"choices": choices} | more))

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": _CREATED, "model": self.model}


def _whole(status: int, body: bytes, at: int) -> Response:
    fields = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    return Response(status, fields, body, (len(body),), Timeline(at, (at,), at))
