"""The requests that the engine runs, and what each of its steps answers.

    NewRequest, RunningRequest ──▶ EngineRequests.step ──▶ tokens per request, logprobs, misses, when the step may end

One rule covers chunked prefill, hits of the prefix cache and preemption with recomputation: a request gets a token in
the step that computes its last known token, `computed + scheduled >= prompt + produced`; before that it gets none.
How many tokens were produced is vLLM's word, never our own memory. Knows no vLLM and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from replayproxy.vllm_plugin.allowed_tokens import AllowedTokens
from replayproxy.vllm_plugin.recording_index import EngineMiss, EngineRequest
from replayproxy.vllm_plugin.token_recordings import TokenLogprob
from replayproxy.vllm_plugin.token_sources import TokenSource

LEAST_GAP = 0.5
"""Of a recorded gap: how short it becomes when the engine is late. With none, a late stream comes in one burst, which
vLLM's front end sends as one event."""

CONTEXT = 4
"""Tokens that vLLM looks back to decode a part of a character."""

ChooseSource = Callable[[EngineRequest], TokenSource | EngineMiss]


class ScheduledRequest(NamedTuple):
    """A request in one step, in vLLM's words: tokens computed before, scheduled now, produced so far."""

    id: str
    computed: int
    scheduled: int
    produced: int


@dataclass(slots=True)
class _Running:
    request: EngineRequest
    source: TokenSource
    started_at: int
    """When it arrived or was first scheduled: what its recorded times count from."""


class TokenRow(NamedTuple):
    """What one request gets in one step. Logprobs are those of its token, and None where it asks for none."""

    id: str
    tokens: list[int]
    logprobs: tuple[TokenLogprob, ...] | None = None
    width: int = 0
    """How many alternatives it asks for."""
    before: Sequence[int] = ()
    """The last tokens before it: what an alternative would read like depends on them, where it is part of a character.
    """


@dataclass(slots=True)
class StepAnswer:
    """What one step gives to all requests in it."""

    rows: list[TokenRow] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Why a request cannot be answered, by its id."""
    ends_at: int = 0
    """When the slowest of its requests had its token in the recording."""
    lasts: int = 0
    """How long it takes at least, also where it is late: a part of the longest gap in the recording, in ns."""


class EngineRequests:
    """Requests between their first step and their end."""

    def __init__(self, choose: ChooseSource, *, speed: float | None = None) -> None:
        self._choose = choose
        self._speed = speed
        self._running: dict[str, _Running] = {}
        self._failed: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, id: str, request: EngineRequest, now: int, arrived_at: int | None = None) -> None:
        """Choose what answers a request that is scheduled now. One that is known was preempted, and goes on.

        `arrived_at`: what a client waited for before the first token includes the queue of the recorded server, and
        that of this one.
        """
        if id in self._running or id in self._failed:
            return
        source = self._choose(request) if request.unsupported is None else EngineMiss(request.unsupported)
        if isinstance(source, EngineMiss):
            self._failed[id] = source.message
        else:
            started_at = arrived_at if source.since_arrival and arrived_at is not None else now
            self._running[id] = _Running(request, source, started_at)

    def finish(self, ids: Iterable[str]) -> None:
        """Forget requests that have ended or were aborted."""
        for id in ids:
            self._running.pop(id, None)
            self._failed.pop(id, None)

    def step(
        self, scheduled: Iterable[ScheduledRequest], allowed: Mapping[str, AllowedTokens] | None = None
    ) -> StepAnswer:
        """Return the tokens of one step. `allowed`: what a grammar admits, by request."""
        answer = StepAnswer()
        for part in scheduled:
            if (why := self._failed.get(part.id)) is not None:
                answer.failed[part.id] = why
            running = self._running.get(part.id)
            if running is None or part.computed + part.scheduled < len(running.request.prompt) + part.produced:
                answer.rows.append(TokenRow(part.id, []))
                continue
            answer.rows.append(self._row(part, running, None if allowed is None else allowed.get(part.id), answer))
        return answer

    def _row(
        self, part: ScheduledRequest, running: _Running, allowed: AllowedTokens | None, answer: StepAnswer
    ) -> TokenRow:
        source, position = running.source, part.produced
        token = source.token(position, allowed)
        if isinstance(token, EngineMiss):
            answer.failed[part.id] = token.message
            return TokenRow(part.id, [])
        if self._speed is not None:
            # Deadlines since the request's first step, not gaps since its last token: gaps of a batch jitter against
            # each other, and the longest of each step adds up to more than any request took.
            answer.ends_at = max(answer.ends_at, running.started_at + round(source.due(position) / self._speed))
            gap = source.due(position) - source.due(position - 1) if position else 0
            answer.lasts = max(answer.lasts, round(gap * LEAST_GAP / self._speed))
        width = running.request.logprobs
        if width is None:
            return TokenRow(part.id, [token])
        before = (source.token(earlier) for earlier in range(max(0, position - CONTEXT), position))
        return TokenRow(
            part.id, [token], source.logprobs(position), width, [one for one in before if isinstance(one, int)]
        )
