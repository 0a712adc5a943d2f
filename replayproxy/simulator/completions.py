"""`/v1/completions`: one prompt or several, as text or token ids; frames as vLLM 0.32 writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from replayproxy.core.dialects.sse import encode
from replayproxy.simulator import reading
from replayproxy.simulator.context import FINGERPRINT
from replayproxy.simulator.generation import TEXT, GenerationRequest, InventedAnswer
from replayproxy.simulator.logprobs import completion_logprobs
from replayproxy.simulator.models import ModelName
from replayproxy.simulator.routes import ApiError, Call, Generation, Routes
from replayproxy.simulator.sequence import EngineSequence
from replayproxy.simulator.structured import structure_of
from replayproxy.simulator.tokens import Token
from replayproxy.simulator.transfer import RemoteKv
from replayproxy.simulator.usage import TokenCounts, without_nulls

if TYPE_CHECKING:
    from replayproxy.simulator.context import Context
    from replayproxy.simulator.engine import Engine

DEFAULT_TOKENS = 16
"""`max_tokens` where a request has none, as in OpenAI's API and in vLLM."""


def register(routes: Routes, context: Context, _: Engine) -> None:
    """Add the endpoint."""
    routes.add("POST", "/v1/completions", lambda call: _generate(call, context))


def _generate(call: Call, context: Context) -> Generation:
    body = reading.body_object(call)
    prompts = _prompts(body.get("prompt"), context)
    model = context.models.resolve(body.get("model"))
    reading.check_ranges(body)
    max_tokens = reading.whole(body, "max_tokens", DEFAULT_TOKENS, least=0)
    has_usage, has_continuous_usage = reading.wants_usage(body)
    logprobs = reading.whole(body, "logprobs", least=0)
    remote = RemoteKv.of(body)
    requests = [
        remote.limited(
            GenerationRequest(
                prompt=prompt,
                echo=text,
                limit=context.room(prompt, max_tokens, name="max_tokens"),
                max_tokens=max_tokens,
                **reading.stopping(body, max_tokens),
                **structure_of(body),
            )
        )
        for prompt, text in prompts
    ]
    choices = context.choices(body)
    request_id = f"cmpl-{call.draws.id('request')}"
    sequences, answers = context.sequences(call, model, requests, request_id=request_id, choices=choices, remote=remote)
    texts = [text for _, text in prompts for _ in range(choices)]
    writer = CompletionWriter(
        request_id,
        context.created(),
        model,
        sequences,
        answers,
        echoed=[context.tokenizer.tokens(text) for text in texts] if reading.flag(body, "echo") else None,
        options=CompletionOptions(
            choices=choices,
            has_ids=reading.flag(body, "return_token_ids"),
            logprobs=logprobs,
            has_usage=has_usage,
            has_continuous_usage=has_continuous_usage,
            has_cache=context.counts_cached,
            ticket=remote.ticket(call.draws, sum(len(prompt) for prompt, _ in prompts)),
        ),
    )
    return Generation(sequences, answers, writer, reading.flag(body, "stream"))


def _prompts(value: Any, context: Context) -> list[tuple[list[int], str]]:
    """Token ids and text of each prompt. Raises `ApiError` where it is not one of the four forms."""
    tokenizer = context.tokenizer
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and value and all(isinstance(id, int) for id in value):
        value = [value]
    found: list[tuple[list[int], str]] = []
    for prompt in value if isinstance(value, list) else ():
        if isinstance(prompt, str) and prompt:
            found.append((tokenizer.encode(prompt), prompt))
        elif isinstance(prompt, list) and prompt and all(isinstance(id, int) for id in prompt):
            found.append((prompt, tokenizer.decode(prompt)))
        else:
            raise _no_prompt()
    if not found:
        raise _no_prompt()
    return found


def _no_prompt() -> ApiError:
    message = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)"
    return ApiError(400, message, param="prompt")


@dataclass(frozen=True, slots=True)
class CompletionOptions:
    """What of an answer the request wants to see."""

    choices: int = 1
    has_ids: bool = False
    logprobs: int | None = None
    has_usage: bool = False
    has_continuous_usage: bool = False
    has_cache: bool = False
    ticket: dict[str, Any] | None = None


class CompletionWriter:
    """The frames and the body of one answer."""

    def __init__(
        self,
        id: str,
        created: int,
        model: ModelName,
        sequences: Sequence[EngineSequence],
        answers: Sequence[InventedAnswer],
        *,
        echoed: Sequence[Sequence[Token]] | None,
        options: CompletionOptions,
    ) -> None:
        self._head = {"id": id, "object": "text_completion", "created": created, "model": model.name}
        self._sequences = sequences
        self._answers = answers
        self._echoed = echoed
        self._options = options
        self._offsets = [0] * len(sequences)

    # Streamed

    def begin(self) -> bytes:
        """Nothing before the first token."""
        return b""

    def first(self) -> bytes:
        """Nothing: there are no roles."""
        return b""

    def token(self, sequence: EngineSequence, step: tuple[int, Token | None]) -> bytes:
        """One frame with what the token adds; the first one has the prompt too, if it is to be repeated."""
        index, options = sequence.index, self._options
        token = step[1]
        tokens = [token] if token is not None else []
        is_first, is_last = sequence.generated == 1, sequence.generated == sequence.steps
        ids = [token.id for token in tokens]
        if is_first and self._echoed is not None:
            tokens = [*self._echoed[index], *tokens]
        text = "".join([token.text for token in tokens])
        logprobs = None
        if options.logprobs is not None:
            position = 0 if is_first else sequence.generated - 1
            logprobs = completion_logprobs(tokens, position, options.logprobs, self._offsets[index])
            self._offsets[index] += len(text)
        answer = self._answers[index]
        shows_prompt = is_first and (options.has_ids or self._echoed is not None)
        choice = {
            "index": index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": answer.finish_reason if is_last else None,
            "stop_reason": answer.stop_reason if is_last else None,
            "prompt_token_ids": sequence.prompt if shows_prompt else None,
            "token_ids": ids if options.has_ids else None,
        }
        more: dict[str, Any] = {}
        if options.has_continuous_usage:
            counts = TokenCounts(sequence.prompt_tokens, sequence.generated, sequence.cached_tokens)
            more["usage"] = counts.document()
        if is_last and not options.has_usage:
            more["system_fingerprint"] = FINGERPRINT
        return self._frame([choice], **more)

    def end(self) -> bytes:
        """The usage, if it is wanted, and the end."""
        usage = b""
        if self._options.has_usage:
            document = without_nulls(self._usage())
            usage = self._frame([], usage=document, system_fingerprint=FINGERPRINT)
        return usage + encode(b"[DONE]")

    def _frame(self, choices: list[dict[str, Any]], **more: object) -> bytes:
        return encode(orjson.dumps({**self._head, "choices": choices, **more}))

    def _usage(self) -> dict[str, Any]:
        counts = TokenCounts.of(self._sequences, self._options.choices)
        return counts.with_details(has_cache=self._options.has_cache, has_reasoning=False, created=None)

    # Whole

    def whole(self) -> bytes:
        """The body."""
        document = {
            **self._head,
            "choices": [self._choice(sequence) for sequence in self._sequences],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": self._usage(),
            "kv_transfer_params": self._options.ticket,
            "ec_transfer_params": None,
            "metrics": None,
        }
        return orjson.dumps(document)

    def _choice(self, sequence: EngineSequence) -> dict[str, Any]:
        answer, options = self._answers[sequence.index], self._options
        tokens = answer.tokens
        echoed = tuple(self._echoed[sequence.index]) if self._echoed is not None else ()
        logprobs = None
        if options.logprobs is not None:
            logprobs = completion_logprobs((*echoed, *tokens), 0, options.logprobs, 0)
        return {
            "index": sequence.index,
            "text": "".join([token.text for token in echoed]) + answer.text_of(TEXT),
            "logprobs": logprobs,
            "finish_reason": answer.finish_reason,
            "stop_reason": answer.stop_reason,
            "token_ids": [token.id for token in tokens] if options.has_ids else None,
            "prompt_logprobs": None,
            "prompt_token_ids": sequence.prompt if options.has_ids else None,
            "routed_experts": None,
        }
