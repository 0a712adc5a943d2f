"""A sequence starts when the KV cache has room for it, finds its prefix there, and fills blocks with its tokens.

engine: may it start? ──▶ KvCacheRule ──▶ KvCache          engine: one more token ──▶ KvCacheRule ──▶ KvCache
                                                               what has changed ──▶ changed(events)
"""

from __future__ import annotations

from collections.abc import Callable

from replayproxy.simulator.adapters import Adapters
from replayproxy.simulator.kv_cache import Allocation, CacheEvent, KvCache
from replayproxy.simulator.listeners import Admission
from replayproxy.simulator.sequence import EngineSequence


class KvCacheRule:
    """Has a say in what the engine starts, and follows it."""

    def __init__(
        self, cache: KvCache, adapters: Adapters, changed: Callable[[list[CacheEvent]], None] = lambda _: None
    ) -> None:
        """`changed` is called with what has changed in the cache, whenever something has."""
        self.cache = cache
        self._adapters = adapters
        self._changed = changed
        self._allocations: dict[EngineSequence, Allocation] = {}
        """Of running sequences."""

    def admit(self, sequence: EngineSequence) -> Admission:
        """Take the blocks of the prompt. Raises `CacheTooSmall`; a context that fits into the cache prevents it."""
        adapter = self._adapters.loaded.get(sequence.adapter) if sequence.adapter is not None else None
        allocation = self.cache.allocate(
            sequence.prompt,
            sequence.steps,
            sequence.model,
            sequence.adapter,
            adapter.number if adapter is not None else None,
        )
        if allocation is None:
            return Admission.BLOCKED
        self._allocations[sequence] = allocation
        sequence.cached_tokens = allocation.cached_tokens
        self._report()
        return Admission.ADMITTED

    def release(self, sequence: EngineSequence) -> None:
        """Give the blocks back; full ones stay cached."""
        self.cache.release(self._allocations.pop(sequence))
        self._report()

    def generated(self, sequence: EngineSequence) -> None:
        """A sequence has one more token."""
        allocation = self._allocations.get(sequence)
        if allocation is not None and sequence.generated <= len(sequence.output):
            self.cache.append(allocation, sequence.output[sequence.generated - 1])
            self._report()

    def clear(self) -> None:
        """Forget what no running sequence holds."""
        if self.cache.shares:
            self.cache.clear()
            self._report()

    def _report(self) -> None:
        events = self.cache.take_events()
        if events:
            self._changed(events)
