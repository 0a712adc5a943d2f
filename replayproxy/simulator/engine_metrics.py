"""What the engine does, as metrics: its events in ns become observations in seconds, its state becomes gauges."""

from __future__ import annotations

from dataclasses import dataclass

from replayproxy.ports import Clock
from replayproxy.simulator.adapters import Adapters
from replayproxy.simulator.engine import Engine
from replayproxy.simulator.kv_rule import KvCacheRule
from replayproxy.simulator.metrics import EngineState, FinishedRequest, Metrics
from replayproxy.simulator.sequence import EngineSequence

_SECOND = 1e9


@dataclass(slots=True)
class _Choices:
    """Of a request with several choices: how many run, and the most tokens that one of them has."""

    left: int
    most: int = 0


class EngineMetrics:
    """Follows an engine, which is known after it was made: `engine`."""

    def __init__(self, metrics: Metrics, adapters: Adapters, kv: KvCacheRule, clock: Clock) -> None:
        self.metrics = metrics
        self.engine: Engine | None = None
        self.sleep_level = 0
        self._adapters = adapters
        self._kv = kv
        self._clock = clock
        self._choices: dict[str, _Choices] = {}
        """Of requests that have not ended, by id."""
        self._waiting: dict[EngineSequence, str] = {}
        """Sequences that wait, with their adapters. While the engine starts some it has no such list."""

    def state(self) -> EngineState:
        """What gauges show now."""
        engine = self.engine
        assert engine is not None, "metrics of an engine that was never set"
        return EngineState(
            running=len(engine.running),
            waiting=len(engine.waiting),
            deferred=sum(not self._adapters.can_run(adapter) for adapter in self._waiting.values()),
            cache_usage=self._kv.cache.usage,
            sleep_level=self.sleep_level,
        )

    # What the engine reports

    def accepted(self, sequence: EngineSequence, _: int) -> None:
        """Remember its choices."""
        self._choices.setdefault(sequence.request_id, _Choices(sequence.choices))

    def queued(self, sequence: EngineSequence, _: int) -> None:
        """Its adapter waits."""
        if sequence.adapter is not None:
            self._waiting[sequence] = sequence.adapter
            self._note_adapters()

    def started(self, sequence: EngineSequence, _: int) -> None:
        """It has looked its prompt up in the cache."""
        self.metrics.started(
            sequence.prompt_tokens,
            sequence.cached_tokens,
            is_remote=sequence.has_remote_prefill,
            looks_up=self._kv.cache.shares,
        )
        self._end_waiting(sequence)

    def first_token(self, sequence: EngineSequence, at: int) -> None:
        """Its prefill is over."""
        self._kv.generated(sequence)
        self.metrics.first_token(
            (at - sequence.arrived_at) / _SECOND,
            at,
            sequence.prompt_tokens,
            sequence.cached_tokens,
            is_remote=sequence.has_remote_prefill,
        )

    def token(self, sequence: EngineSequence, at: int, gap: int) -> None:
        """One more."""
        self._kv.generated(sequence)
        self.metrics.next_token(gap / _SECOND, at)

    def finished(self, sequence: EngineSequence, at: int) -> None:
        """It has all its tokens; a prefill for another server has none, and its prefill lasts to its end."""
        first = sequence.first_token_at or at
        self.metrics.finished(
            FinishedRequest(
                sequence.finish_reason,
                sequence.prompt_tokens,
                sequence.generated,
                end_to_end=(at - sequence.arrived_at) / _SECOND,
                queue=(sequence.started_at - sequence.arrived_at) / _SECOND,
                prefill=(first - sequence.started_at) / _SECOND,
                decode=(at - first) / _SECOND,
                cached_tokens=sequence.cached_tokens,
                max_tokens=sequence.max_tokens,
            )
        )
        self._end_choice(sequence)
        self._end_waiting(sequence)

    def failed(self, sequence: EngineSequence, _: int) -> None:
        """Its client has left."""
        self.metrics.aborted()
        self._end_choice(sequence)
        self._end_waiting(sequence)

    def rejected(self, sequence: EngineSequence, _: int) -> None:
        """The queue was full. A request is rejected once, with all its choices."""
        if sequence.index == 0:
            self.metrics.rejected()

    def _end_choice(self, sequence: EngineSequence) -> None:
        choices = self._choices.get(sequence.request_id)
        if choices is None:
            return
        choices.left -= 1
        choices.most = max(choices.most, sequence.generated)
        if choices.left <= 0:
            self.metrics.ended(sequence.choices, choices.most)
            del self._choices[sequence.request_id]

    def _end_waiting(self, sequence: EngineSequence) -> None:
        if sequence.adapter is not None:
            self._waiting.pop(sequence, None)
            self._note_adapters()

    def _note_adapters(self) -> None:
        self.metrics.adapters(self._adapters.running, self._waiting.values(), self._clock.today() / _SECOND)
