"""What all endpoints that generate share: which model is meant, how long the answer may be, and its sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from replayproxy.ports import Clock
from replayproxy.simulator import reading
from replayproxy.simulator.engine import QueueFull
from replayproxy.simulator.generation import GenerationRequest, InventedAnswer
from replayproxy.simulator.models import ModelName, ServedModels
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.routes import ApiError, Call
from replayproxy.simulator.sequence import EngineSequence
from replayproxy.simulator.server import SleepState
from replayproxy.simulator.text import Composer
from replayproxy.simulator.tokens import ByteTokenizer, Tokenizer
from replayproxy.simulator.transfer import RemoteKv

FINGERPRINT = "vllm-0.32.0-simulated"
"""`system_fingerprint` of all answers: a real one has eight digits of a hash of the server's configuration."""

CREATED = 1_700_000_000
"""`created` of all answers unless they are to have the time: the same seed gives the same bytes on every day."""

MOST_CHOICES = 16_384
"""Choices of one request, as vLLM allows for `n` (`VLLM_MAX_N_SEQUENCES`)."""

MOST_TOKENS = 2_000_000
"""Tokens of one request. All of them are invented before the first one is sent, and take a hundred bytes each."""


class Context:
    """The parts of one simulator that do not change while it runs."""

    def __init__(self, options: Simulation, clock: Clock, tokenizer: Tokenizer | None = None) -> None:
        self.options = options
        self.tokenizer = tokenizer or ByteTokenizer()
        self.composer = Composer(self.tokenizer, options.text)
        self.models = ServedModels(options.names, options.model, any_model=options.any_model)
        self.sleep_state = SleepState()
        self.counts_cached = options.counts_cached or options.state.enable_kvcache
        """Whether `usage` has the cached tokens of the prompt."""
        self._clock = clock

    def created(self) -> int:
        """Seconds since the Unix epoch, for `created`."""
        return CREATED if self.options.created == "fixed" else self._clock.today() // 1_000_000_000

    def choices(self, body: dict[str, Any]) -> int:
        """How many choices a request wants (`n`). Raises `ApiError`."""
        choices = reading.whole(body, "n", 1, least=1) or 1
        if choices > MOST_CHOICES:
            raise ApiError(400, f"n must be at most {MOST_CHOICES}, got {choices}.", param="n")
        return choices

    def room(self, prompt: Sequence[int], max_tokens: int | None, *, name: str) -> int:
        """How many tokens may be generated. Raises `ApiError` as vLLM does where they do not fit into the context.

        `name` is what the request calls `max_tokens`.
        """
        longest, used = self.options.max_model_len, len(prompt)
        if max_tokens is not None and max_tokens > longest:
            raise ApiError(
                400,
                f"{name}={max_tokens} cannot be greater than max_model_len={longest}. Please request fewer output"
                f" tokens. (parameter={name}, value={max_tokens})",
                param=name,
            )
        if used + (1 if max_tokens is None else max_tokens) > longest:
            raise too_long(longest, used, max_tokens)
        return longest - used if max_tokens is None else max_tokens

    def reasoning_tokens(self, body: dict[str, Any]) -> int:
        """How many tokens of reasoning an answer has: as configured, unless the request turns it on or off."""
        configured = self.options.text.reasoning_tokens
        template = body.get("chat_template_kwargs")
        thinking = template.get("enable_thinking", template.get("thinking")) if isinstance(template, dict) else None
        effort = body.get("reasoning_effort")
        if thinking is False or effort == "none":
            return 0
        return configured

    def sequences(
        self,
        call: Call,
        model: ModelName,
        requests: Iterable[GenerationRequest],
        *,
        request_id: str,
        choices: int,
        remote: RemoteKv,
    ) -> tuple[list[EngineSequence], list[InventedAnswer]]:
        """One sequence and one answer for each choice of each prompt, numbered through."""
        requests = tuple(requests)
        self._refuse_too_much(requests, choices)
        sequences: list[EngineSequence] = []
        answers: list[InventedAnswer] = []
        for request in requests:
            for _ in range(choices):
                index = len(sequences)
                answer = self.composer.compose(request, call.draws.generator("text", index))
                answers.append(answer)
                sequences.append(
                    EngineSequence(
                        request_id=request_id,
                        index=index,
                        model=model.name,
                        adapter=model.adapter,
                        prompt=request.prompt,
                        steps=len(answer.steps),
                        draw=call.draws.generator("latency", index),
                        output=[token.id if token is not None else 0 for _, token in answer.steps],
                        choices=choices,
                        max_tokens=request.max_tokens,
                        has_remote_prefill=remote.decodes,
                        finish_reason=answer.finish_reason,
                    )
                )
        return sequences, answers

    def _refuse_too_much(self, requests: Sequence[GenerationRequest], choices: int) -> None:
        """Raise for a request that the engine never takes, or that would fill the memory, before it is invented."""
        options = self.options
        if len(requests) * choices > options.max_num_seqs + options.max_waiting:
            raise QueueFull
        tokens = choices * sum(request.limit for request in requests)
        if tokens > MOST_TOKENS:
            raise ApiError(
                400,
                f"The request may generate {tokens} tokens, and the simulator generates at most {MOST_TOKENS} for one"
                " request: give a smaller n or max_tokens.",
                param="n",
            )


def too_long(longest: int, used: int, max_tokens: int | None) -> ApiError:
    """The error for a prompt that leaves no room, in vLLM's words."""
    if used >= longest:
        rest = (
            f"your prompt contains at least {longest + 1} input tokens, which exceeds this limit even without any"
            " output tokens. Please reduce the length of the input prompt."
            f" (parameter=input_tokens, value={longest + 1})"
        )
    else:
        rest = (
            f"you requested {max_tokens} output tokens and your prompt contains at least {used} input tokens, for a"
            f" total of at least {used + (max_tokens or 0)} tokens. Please reduce the length of the input prompt or the"
            f" number of requested output tokens. (parameter=input_tokens, value={used})"
        )
    return ApiError(
        400, f"This model's maximum context length is {longest} tokens. However, {rest}", param="input_tokens"
    )
