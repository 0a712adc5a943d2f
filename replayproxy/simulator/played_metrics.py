"""The metrics of a vLLM that would give the answers that are being played: measured as they go out.

    begin ──▶ running ──▶ tokens by their times ──▶ end: finished or aborted          text ──▶ the page now

What is recorded of an answer are its tokens and its chunks; a chunk is not a token, so the tokens are spread evenly
over the times of the chunks, and over the whole time where the answer was not streamed. Knows no cassette and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from replayproxy.core.server_state import RecordedFacts
from replayproxy.simulator.metric_table import CURRENT
from replayproxy.simulator.metrics import EngineState, FinishedRequest, Metrics
from replayproxy.simulator.metrics_page import MetricsPage

_SECOND = 1e9


@dataclass(eq=False, slots=True)
class PlayedAnswer:
    """An answer that is being played."""

    began: int
    facts: RecordedFacts
    times: Sequence[int]
    """When each of its tokens is due, in ns since it began."""
    counted: int = 0
    """Tokens of these that have been counted."""


class PlayedMetrics:
    """Follows all answers of one replay."""

    def __init__(self, *, model: str, max_model_len: int, cache_tokens: int, created: float, generation: str = CURRENT):
        """`cache_tokens` is how many tokens the KV cache has room for. `created` in seconds since the Unix epoch."""
        self._metrics = Metrics(max_model_len=max_model_len, created=created)
        self._model = model
        self._cache_tokens = cache_tokens
        self._generation = generation
        self._running: dict[PlayedAnswer, None] = {}

    def begin(self, facts: RecordedFacts, chunk_times: Sequence[int], now: int, speed: float | None) -> PlayedAnswer:
        """An answer begins to be played. With `speed` None latencies are those of the recording."""
        factor = speed or 1.0
        times = [round(at / factor) for at in token_times(facts, chunk_times)]
        played = PlayedAnswer(now, facts, times)
        self._running[played] = None
        self._metrics.started(facts.prompt_tokens or 0, facts.cached_tokens or 0)
        return played

    def end(self, played: PlayedAnswer, now: int, *, is_whole: bool) -> None:
        """It has been played to its end, or its client has left."""
        self._running.pop(played, None)
        if not is_whole:
            self._count(played, now - played.began)
            self._metrics.aborted()
            return
        last = played.times[-1] if played.times else 0
        self._count(played, last)
        first = played.times[0] if played.times else 0
        facts = played.facts
        self._metrics.finished(
            FinishedRequest(
                facts.finish or "stop",
                facts.prompt_tokens or 0,
                len(played.times),
                end_to_end=last / _SECOND,
                queue=0.0,
                prefill=first / _SECOND,
                decode=(last - first) / _SECOND,
                cached_tokens=facts.cached_tokens or 0,
            )
        )
        self._metrics.ended(1, len(played.times))

    def text(self, now: int) -> bytes:
        """The page at this time of the clock."""
        for played in self._running:
            self._count(played, now - played.began)
        tokens = sum((one.facts.prompt_tokens or 0) + one.counted for one in self._running)
        state = EngineState(running=len(self._running), cache_usage=min(1.0, tokens / self._cache_tokens))
        return MetricsPage(self._metrics.series(state), self._model, self._generation).text()

    def _count(self, played: PlayedAnswer, elapsed: int) -> None:
        """Count the tokens that are due so many ns after it began."""
        times, facts = played.times, played.facts
        while played.counted < len(times) and times[played.counted] <= elapsed:
            at = times[played.counted]
            if played.counted:
                self._metrics.next_token((at - times[played.counted - 1]) / _SECOND, played.began + at)
            else:
                prompt, cached = facts.prompt_tokens or 0, facts.cached_tokens or 0
                self._metrics.first_token(at / _SECOND, played.began + at, prompt, min(cached, prompt))
            played.counted += 1


def is_generation(facts: RecordedFacts) -> bool:
    """Whether an answer is one that a model generated."""
    return facts.status == 200 and (facts.is_stream or facts.completion_tokens is not None)


def token_times(facts: RecordedFacts, chunk_times: Sequence[int]) -> list[int]:
    """When each token of an answer came, in ns since the request, as far as its chunks say."""
    if not facts.is_stream:
        tokens = facts.completion_tokens or 0
        return [facts.total * number // tokens for number in range(1, tokens + 1)]
    first = facts.first_token or 0
    times = [at for at in chunk_times if at >= first - first % 10_000] or [facts.total]
    tokens = len(times) if facts.completion_tokens is None else facts.completion_tokens
    return [times[number * len(times) // tokens] for number in range(tokens)]
