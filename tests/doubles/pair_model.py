"""A model that always says the same to the same prompt, in the dialects that vLLM speaks.

What it says depends on the prompt alone, as at temperature 0; so whoever has the right KV cache says the right words.
Knows no socket, no time, and nothing of pairs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

MODEL = "tiny"
CREATED = 1_795_180_642
DEFAULT_TOKENS = 16
DONE = b"data: [DONE]\n\n"

CHAT, TEXT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"


class Invalid(Exception):
    """A request that vLLM answers with 400."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks of the model."""

    path: str
    body: dict[str, Any]
    prompts: tuple[str, ...]
    most: int
    n: int
    stream: bool
    usage: bool

    @property
    def prompt_tokens(self) -> int:
        """A word is a token."""
        return sum(len(prompt.split()) for prompt in self.prompts)


def read(path: str, content: bytes) -> Ask:
    """Understand a request. Raises `Invalid` where vLLM does."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"JSON decode error: {error}") from error
    if not isinstance(body, dict) or body.get("model") != MODEL:
        raise Invalid(f"the body is no object with the model {MODEL}")
    said = {TEXT: "prompt", RESPONSES: "input"}.get(path, "messages")
    if said not in body:
        raise Invalid(f"{said}: Field required")
    stream = bool(body.get("stream"))
    if body.get("stream_options") and not stream:
        raise Invalid("Stream options can only be defined when `stream=True`.")
    most = body.get("max_completion_tokens") or body.get("max_output_tokens") or body.get("max_tokens")
    most = DEFAULT_TOKENS if most is None else most
    if body.get("min_tokens", 0) > most:
        raise Invalid(f"min_tokens must be less than or equal to max_tokens={most}, got {body['min_tokens']}.")
    prompt = body[said]
    several = path == TEXT and isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
    prompts = prompt if several else [prompt]
    return Ask(
        path=path,
        body=body,
        prompts=tuple(one if isinstance(one, str) else orjson.dumps(one).decode() for one in prompts),
        most=most,
        n=body.get("n", 1),
        stream=stream,
        usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def words(prompt: str, most: int = DEFAULT_TOKENS, choice: int = 0) -> list[str]:
    """What the model says: 6 to 14 tokens, or fewer where that is all that is wanted."""
    chance = random.Random(f"{choice} {prompt}")
    return [f" {chance.choice('ab')}{chance.randint(10, 99)}" for _ in range(chance.randint(6, 14))][:most]


def text(prompt: str, most: int = DEFAULT_TOKENS, choice: int = 0) -> str:
    """The same as text."""
    return "".join(words(prompt, most, choice))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer under way: what was asked, under which id, and what each choice says."""

    ask: Ask
    id: str
    choices: tuple[tuple[str, ...], ...]
    cached: int

    @classmethod
    def to(cls, ask: Ask, request_id: str, heard: tuple[str, ...], cached: int = 0) -> Answer:
        """The answer of a model whose cache holds the prompts `heard`, which should be those that were asked."""
        choices = (tuple(words(prompt, ask.most, choice)) for prompt in heard for choice in range(ask.n))
        prefix = {CHAT: "chatcmpl-", TEXT: "cmpl-", RESPONSES: "resp_", MESSAGES: "msg_"}[ask.path]
        return cls(ask, prefix + request_id, tuple(choices), cached)

    # In one piece

    def whole(self, more: dict[str, Any]) -> bytes:
        """The body of an answer that is not streamed."""
        kinds = {CHAT: self._chat, TEXT: self._text, RESPONSES: self._response, MESSAGES: self._message}
        return orjson.dumps(kinds[self.ask.path]() | more)

    def _finish(self, said: tuple[str, ...]) -> str:
        return "length" if len(said) >= self.ask.most else "stop"

    def _usage(self) -> dict[str, Any]:
        asked, said = self.ask.prompt_tokens, sum(map(len, self.choices))
        details = {"cached_tokens": self.cached}
        if self.ask.path in (RESPONSES, MESSAGES):
            return {"input_tokens": asked, "output_tokens": said, "input_tokens_details": details}
        return {
            "prompt_tokens": asked,
            "total_tokens": asked + said,
            "completion_tokens": said,
            "prompt_tokens_details": details,
        }

    def _frame(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": CREATED, "model": MODEL}

    def _chat(self) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": "".join(said)},
                "finish_reason": self._finish(said),
            }
            for index, said in enumerate(self.choices)
        ]
        return self._frame("chat.completion") | {"choices": choices, "usage": self._usage()}

    def _text(self) -> dict[str, Any]:
        choices = [
            {"index": index, "text": "".join(said), "logprobs": None, "finish_reason": self._finish(said)}
            for index, said in enumerate(self.choices)
        ]
        return self._frame("text_completion") | {"choices": choices, "usage": self._usage()}

    def _response(self) -> dict[str, Any]:
        content = [{"type": "output_text", "text": "".join(self.choices[0])}]
        status = "completed" if self._finish(self.choices[0]) == "stop" else "incomplete"
        output = [{"type": "message", "role": "assistant", "content": content}]
        return self._frame("response") | {"status": status, "output": output, "usage": self._usage()}

    def _message(self) -> dict[str, Any]:
        reason = "end_turn" if self._finish(self.choices[0]) == "stop" else "max_tokens"
        content = [{"type": "text", "text": "".join(self.choices[0])}]
        message = {"id": self.id, "type": "message", "role": "assistant", "model": MODEL}
        return message | {"content": content, "stop_reason": reason, "usage": self._usage()}

    # As a stream

    def events(self) -> Iterator[bytes]:
        """What is said before, with, and after each token."""
        kinds = {RESPONSES: self._response_events, MESSAGES: self._message_events}
        yield from kinds.get(self.ask.path, self._chunks)()

    def _chunks(self) -> Iterator[bytes]:
        chat = self.ask.path == CHAT
        frame = self._frame("chat.completion.chunk" if chat else "text_completion")

        def event(index: int, said: str | None, finish: str | None, **first: str) -> bytes:
            content: dict[str, Any] = {"delta": {**first, "content": said}} if chat else {"text": said}
            choice = {"index": index, **content, "logprobs": None, "finish_reason": finish}
            return b"data: %b\n\n" % orjson.dumps(frame | {"choices": [choice]})

        if chat:
            yield from (event(index, "", None, role="assistant") for index, _ in enumerate(self.choices))
        for step in range(max(map(len, self.choices))):
            for index, said in enumerate(self.choices):
                if step < len(said):
                    last = step == len(said) - 1
                    yield event(index, said[step], self._finish(said) if last else None)
        if self.ask.usage:
            yield b"data: %b\n\n" % orjson.dumps(frame | {"choices": [], "usage": self._usage()})
        yield DONE

    def _response_events(self) -> Iterator[bytes]:
        yield named({"type": "response.created", "response": {"id": self.id, "status": "in_progress"}})
        yield from (named({"type": "response.output_text.delta", "delta": word}) for word in self.choices[0])
        yield named({"type": "response.completed", "response": self._response()})

    def _message_events(self) -> Iterator[bytes]:
        whole = self._message()
        yield named({"type": "message_start", "message": whole | {"content": [], "stop_reason": None}})
        for word in self.choices[0]:
            yield named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
        yield named({"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"]}, "usage": self._usage()})
        yield named({"type": "message_stop"})


def named(value: dict[str, Any]) -> bytes:
    """An event with its name before its data."""
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), orjson.dumps(value))


def error(status: int, message: str, kind: str) -> bytes:
    """vLLM's error body."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": status}})
