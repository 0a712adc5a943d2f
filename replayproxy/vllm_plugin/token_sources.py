"""Where the tokens of one request come from: a recording, or a generator of random ones with a seed.

A source is asked by position, and gives the same token at the same position however often it is asked: after a
preemption vLLM computes again what it had. Knows no vLLM and no clock.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

from replayproxy.vllm_plugin.allowed_tokens import AllowedTokens
from replayproxy.vllm_plugin.recording_index import EngineMiss, EngineRequest
from replayproxy.vllm_plugin.token_recordings import TokenLogprob, TokenRecording


class TokenSource(Protocol):
    """The answer to one request."""

    @property
    def since_arrival(self) -> bool:
        """Whether its times count from the arrival of the request, or from its first step."""
        ...

    def token(self, position: int, allowed: AllowedTokens | None = None) -> int | EngineMiss:
        """Return the token at a position, counted from 0. `allowed`: what a grammar admits there."""
        ...

    def due(self, position: int) -> int:
        """Return when the token came, in ns since the request; 0 where that is not known."""
        ...

    def logprobs(self, position: int) -> tuple[TokenLogprob, ...]:
        """Return the recorded logprobs of the token: its own first, then the most likely ones."""
        ...


class RecordedTokens:
    """A recording. Past its end it says end-of-sequence where the model did, and is a miss where it did not."""

    def __init__(self, recording: TokenRecording, eos: int | None) -> None:
        self.recording = recording
        self.since_arrival = recording.since_arrival
        self._eos = eos

    def token(self, position: int, allowed: AllowedTokens | None = None) -> int | EngineMiss:
        """Return the recorded token, or the end."""
        recording = self.recording
        if position < len(recording.tokens):
            return self._checked(recording.tokens[position], position, allowed)
        if recording.ended_by_itself and self._eos is not None:
            return self._eos
        return EngineMiss(
            f"exchange {recording.name} ends after {len(recording.tokens)} tokens"
            f" ({recording.finish or 'it does not say why'}), and this request goes on: it has other stop strings, or"
            " a larger max_tokens. Record it again with these parameters"
        )

    def _checked(self, token: int, position: int, allowed: AllowedTokens | None) -> int | EngineMiss:
        """vLLM ends a request in mid-answer where its grammar refuses a token: say before that why."""
        if allowed is None or token in allowed:
            return token
        return EngineMiss(
            f"token {position + 1} of exchange {self.recording.name} is {token}, which the grammar of this request does"
            " not admit: it was recorded without this response_format or these tools. Record it again with them"
        )

    def due(self, position: int) -> int:
        """Return when it came."""
        times = self.recording.times
        return times[min(position, len(times) - 1)] if times else 0

    def logprobs(self, position: int) -> tuple[TokenLogprob, ...]:
        """Return what was recorded."""
        logprobs = self.recording.logprobs
        return logprobs[position] if position < len(logprobs) else ()


class RandomTokens:
    """Tokens that depend on the seed, the prompt and how often it was asked before, not on the order of arrival."""

    def __init__(self, request: EngineRequest, seed: int, occurrence: int, vocabulary: Sequence[int]) -> None:
        prompt = b"".join(token.to_bytes(4, "big") for token in request.prompt)
        name = f"{seed} {occurrence} {request.lora} {request.media} ".encode() + prompt
        self._random = random.Random(int.from_bytes(blake2b(name, digest_size=16).digest(), "big"))
        self.since_arrival = False
        self._vocabulary = vocabulary
        self._eos = request.eos
        self._tokens: list[int] = []

    def token(self, position: int, allowed: AllowedTokens | None = None) -> int | EngineMiss:
        """Return a random token, the end where a grammar admits it."""
        while len(self._tokens) <= position:
            if allowed is None:
                self._tokens.append(self._random.choice(self._vocabulary))
            elif self._eos is not None and self._eos in allowed:
                self._tokens.append(self._eos)  # an answer that may end does: a string would go on up to max_tokens
            elif choices := list(allowed):
                self._tokens.append(self._random.choice(choices))
            else:
                return EngineMiss("the grammar of this request admits no token at all here: it cannot be obeyed")
        return self._tokens[position]

    def due(self, position: int) -> int:  # noqa: ARG002  the same at every position
        """Return 0: it has no time of its own."""
        return 0

    def logprobs(self, position: int) -> tuple[TokenLogprob, ...]:  # noqa: ARG002  the same at every position
        """Return none: they are made up."""
        return ()
