"""`/v1/chat/completions`: read the request, write the answer's frames as vLLM 0.32 does, keys with null included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from replayproxy.core.dialects.sse import encode
from replayproxy.simulator import reading
from replayproxy.simulator.context import FINGERPRINT
from replayproxy.simulator.conversation import chat_messages, echoed, prompt_text
from replayproxy.simulator.generation import REASONING, TEXT, TOOL_CALL, GenerationRequest, InventedAnswer
from replayproxy.simulator.logprobs import chat_logprobs
from replayproxy.simulator.models import ModelName
from replayproxy.simulator.routes import ApiError, Call, Generation, Routes
from replayproxy.simulator.sequence import EngineSequence
from replayproxy.simulator.structured import structure_of
from replayproxy.simulator.tokens import Token
from replayproxy.simulator.tools import chat_tool_choice, chat_tools
from replayproxy.simulator.transfer import RemoteKv
from replayproxy.simulator.usage import TokenCounts, without_nulls

if TYPE_CHECKING:
    from replayproxy.simulator.context import Context
    from replayproxy.simulator.engine import Engine

MOST_TOP_LOGPROBS = 20
"""As vLLM's `--max-logprobs`."""


def register(routes: Routes, context: Context, _: Engine) -> None:
    """Add the endpoint."""
    routes.add("POST", "/v1/chat/completions", lambda call: _generate(call, context))


def _generate(call: Call, context: Context) -> Generation:
    body = reading.body_object(call)
    messages = chat_messages(reading.required(body, "messages"))
    if not messages:
        raise ApiError(400, "Cannot apply chat template to an empty conversation. Provide at least one message.")
    model = context.models.resolve(body.get("model"))
    reading.check_ranges(body)
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    max_tokens = reading.whole(body, name, least=1)
    tools = chat_tools(body)
    prompt = context.tokenizer.encode(prompt_text(messages, tools))
    has_usage, has_continuous_usage = reading.wants_usage(body)
    top = _top_logprobs(body)
    remote = RemoteKv.of(body)
    request = GenerationRequest(
        prompt=prompt,
        echo=echoed(messages),
        limit=context.room(prompt, max_tokens, name=name),
        max_tokens=max_tokens,
        tools=tools,
        tool_choice=chat_tool_choice(body, tools),
        parallel_tool_calls=reading.flag(body, "parallel_tool_calls", default=True),
        reasoning_tokens=context.reasoning_tokens(body),
        **reading.stopping(body, max_tokens),
        **structure_of(body),
    )
    request_id = f"chatcmpl-{call.draws.id('request')}"
    sequences, answers = context.sequences(
        call, model, [remote.limited(request)], request_id=request_id, choices=context.choices(body), remote=remote
    )
    writer = ChatWriter(
        request_id,
        context.created(),
        model,
        sequences,
        answers,
        call_ids=[f"chatcmpl-tool-{call.draws.id('tool', index)}" for index in range(len(sequences))],
        options=ChatOptions(
            prompt_ids=prompt if reading.flag(body, "return_token_ids") else None,
            top_logprobs=top,
            has_usage=has_usage,
            has_continuous_usage=has_continuous_usage,
            has_cache=context.counts_cached,
            has_reasoning=context.options.text.reasoning_tokens > 0,
            shows_reasoning=reading.flag(body, "include_reasoning", default=True),
            ticket=remote.ticket(call.draws, len(prompt)),
            calls_for_sure=request.tool_choice.kind in ("required", "named"),
        ),
    )
    return Generation(sequences, answers, writer, reading.flag(body, "stream"))


def _top_logprobs(body: dict[str, Any]) -> int | None:
    """How many alternatives are wanted; None: no log probabilities at all."""
    top = reading.whole(body, "top_logprobs") or 0
    if top and not body.get("logprobs"):
        raise ApiError(
            400, "when using `top_logprobs`, `logprobs` must be set to true. (parameter=top_logprobs)",
            param="top_logprobs",
        )  # fmt: skip
    if not 0 <= top <= MOST_TOP_LOGPROBS:
        raise ApiError(
            400, f"Requested sample logprobs of {top}, which is greater than max allowed: {MOST_TOP_LOGPROBS}"
            f" (parameter=logprobs, value={top})", param="logprobs",
        )  # fmt: skip
    return top if body.get("logprobs") else None


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What of an answer the request wants to see."""

    prompt_ids: Sequence[int] | None = None
    """For `return_token_ids`."""
    top_logprobs: int | None = None
    has_usage: bool = False
    has_continuous_usage: bool = False
    has_cache: bool = False
    has_reasoning: bool = False
    shows_reasoning: bool = True
    ticket: dict[str, Any] | None = None
    """`kv_transfer_params` of a prefill."""
    calls_for_sure: bool = False
    """Whether `tool_choice` demands a call: then a message without text has an empty one, and not null."""


class ChatWriter:
    """The frames and the body of one answer."""

    def __init__(
        self,
        id: str,
        created: int,
        model: ModelName,
        sequences: Sequence[EngineSequence],
        answers: Sequence[InventedAnswer],
        *,
        call_ids: Sequence[str],
        options: ChatOptions,
    ) -> None:
        self._head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model.name}
        self._sequences = sequences
        self._answers = answers
        self._call_ids = call_ids
        self._options = options

    # Streamed

    def begin(self) -> bytes:
        """Nothing before the first token."""
        return b""

    def first(self) -> bytes:
        """The role of each choice."""
        more = {"prompt_token_ids": self._options.prompt_ids, "prompt_text": None}
        delta = {"role": "assistant", "content": ""}
        frames = []
        for sequence in self._sequences:
            choice = {"index": sequence.index, "delta": delta, "logprobs": None, "finish_reason": None}
            frames.append(self._frame([choice], **self._continuous(sequence, 0), **more))
        return b"".join(frames)

    def token(self, sequence: EngineSequence, step: tuple[int, Token | None]) -> bytes:
        """One frame with what the token adds."""
        answer, options = self._answers[sequence.index], self._options
        number, token = step
        is_last = sequence.generated == sequence.steps
        delta = self._delta(sequence, number, token)
        if delta is None and not is_last:
            return b""
        logprobs = None
        if options.top_logprobs is not None and token is not None and delta is not None:
            logprobs = chat_logprobs([token], sequence.generated - 1, options.top_logprobs)
        choice: dict[str, Any] = {
            "index": sequence.index,
            "delta": delta or {},
            "logprobs": logprobs,
            "finish_reason": answer.finish_reason if is_last else None,
        }
        if is_last:
            choice["stop_reason"] = answer.stop_reason
        choice["token_ids"] = [] if token is None else [token.id]
        if options.prompt_ids is None:
            choice["token_ids"] = None
        more = self._continuous(sequence, sequence.generated)
        if is_last and not options.has_usage:
            more["system_fingerprint"] = FINGERPRINT
        return self._frame([choice], **more)

    def _delta(self, sequence: EngineSequence, number: int, token: Token | None) -> dict[str, Any] | None:
        """What a token adds to the message; None where it is not shown."""
        part = self._answers[sequence.index].parts[number]
        if part.kind == TOOL_CALL:
            index = self._call_index(sequence, number)
            if token is None:
                call = {"id": self._call_id(sequence, index), "type": "function", "index": index}
                return {"content": None, "tool_calls": [{**call, "function": {"name": part.name}}]}
            if not token.text:  # the end of the answer
                return {}
            return {"content": None, "tool_calls": [{"index": index, "function": {"arguments": token.text}}]}
        text = "" if token is None else token.text
        if part.kind == REASONING:
            return {"reasoning": text} if self._options.shows_reasoning else None
        return {"content": text}

    def _call_index(self, sequence: EngineSequence, number: int) -> int:
        parts = self._answers[sequence.index].parts[:number]
        return sum(part.kind == TOOL_CALL for part in parts)

    def _call_id(self, sequence: EngineSequence, index: int) -> str:
        base = self._call_ids[sequence.index]
        return f"{base[:-1]}{index:x}" if index else base

    def end(self) -> bytes:
        """The usage, if it is wanted, and the end."""
        usage = b""
        if self._options.has_usage:
            document = without_nulls(self._usage())
            usage = self._frame([], usage=document, system_fingerprint=FINGERPRINT)
        return usage + encode(b"[DONE]")

    def _frame(self, choices: list[dict[str, Any]], **more: object) -> bytes:
        return encode(orjson.dumps({**self._head, "choices": choices, **more}))

    def _continuous(self, sequence: EngineSequence, completion: int) -> dict[str, Any]:
        if not self._options.has_continuous_usage:
            return {}
        usage = TokenCounts(sequence.prompt_tokens, completion, sequence.cached_tokens).document()
        details = {"reasoning_tokens": self._reasoning_so_far(sequence)} if self._options.has_reasoning else None
        return {"usage": {**usage, "completion_tokens_details": details}}

    def _reasoning_so_far(self, sequence: EngineSequence) -> int:
        return min(sequence.generated, self._answers[sequence.index].reasoning_tokens)

    def _usage(self) -> dict[str, Any]:
        reasoning = sum(answer.reasoning_tokens for answer in self._answers)
        counts = TokenCounts.of(self._sequences, len(self._sequences), reasoning)
        return counts.with_details(has_cache=self._options.has_cache, has_reasoning=self._options.has_reasoning)

    # Whole

    def whole(self) -> bytes:
        """The body."""
        document = {
            **self._head,
            "object": "chat.completion",
            "choices": [self._choice(sequence) for sequence in self._sequences],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": self._usage(),
            "prompt_logprobs": None,
            "prompt_token_ids": self._options.prompt_ids,
            "prompt_text": None,
            "kv_transfer_params": self._options.ticket,
            "ec_transfer_params": None,
            "metrics": None,
        }
        return orjson.dumps(document)

    def _choice(self, sequence: EngineSequence) -> dict[str, Any]:
        answer, options = self._answers[sequence.index], self._options
        logprobs = None
        if options.top_logprobs is not None:
            logprobs = chat_logprobs(answer.tokens, 0, options.top_logprobs)
        return {
            "index": sequence.index,
            "message": self._message(sequence, answer),
            "logprobs": logprobs,
            "finish_reason": answer.finish_reason,
            "stop_reason": answer.stop_reason,
            "token_ids": None if options.prompt_ids is None else [token.id for token in answer.tokens],
            "routed_experts": None,
        }

    def _message(self, sequence: EngineSequence, answer: InventedAnswer) -> dict[str, Any]:
        reasoning = answer.text_of(REASONING) if self._options.shows_reasoning else ""
        text = answer.text_of(TEXT)
        has_text = any(part.kind == TEXT for part in answer.parts)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text if has_text or self._options.calls_for_sure else None,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
        }
        if answer.tool_calls:
            message["tool_calls"] = [
                {
                    "id": self._call_id(sequence, index),
                    "type": "function",
                    "function": {"name": part.name, "arguments": part.text},
                }
                for index, part in enumerate(answer.tool_calls)
            ]
        return {**message, "reasoning": reasoning or None}
