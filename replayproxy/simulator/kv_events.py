"""Events of the KV cache as vLLM publishes them: batches in MessagePack, numbered, and kept for who missed some.

    cache events ──▶ EventLog: batch ──▶ payload [time, [event, …], rank] ──▶ sequence number ──▶ publisher

Two encodings of an event: `map` is that of vLLM 0.32 (`distributed/kv_events.py`: structs tagged `type`, of which
fields with their defaults are left out); `array` is that of vLLM before 0.23 and of llm-d-inference-sim, where each
field has its place. Knows no socket: what leaves here are bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgpack

from replayproxy.simulator.block_hashes import as_number
from replayproxy.simulator.kv_cache import BlocksRemoved, BlocksStored, CacheCleared, CacheEvent

MAP, ARRAY = "map", "array"

MEDIUM = "GPU"

GROUP = 0
"""A model whose layers all have the same kind of attention has one group of KV caches."""

ATTENTION = "full_attention"
"""The kind of such a model's attention, as vLLM names it."""

FLUSH_AFTER = 1_000_000_000
"""A batch that is not full is published so many ns after the first of its events."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """A published batch."""

    sequence: int
    payload: bytes

    @property
    def sequence_bytes(self) -> bytes:
        """Its number as a frame: 8 bytes, most significant first."""
        return self.sequence.to_bytes(8, "big")


class EventLog:
    """Collects events into batches. Keeps the payloads of the last `kept` batches.

    Each is at most `batch_size` events; one of them has at most the tokens of one prompt.
    """

    def __init__(self, *, encoding: str = MAP, rank: int = 0, batch_size: int = 16, kept: int = 10_000) -> None:
        self.encoding = encoding
        self.rank = rank
        self.batch_size = batch_size
        self._pending: list[CacheEvent] = []
        self._first_at = 0
        self._next = 0
        self._kept: deque[EventBatch] = deque(maxlen=kept)

    @property
    def due_at(self) -> int | None:
        """When what is pending must be published, in ns of the clock. None: nothing is pending."""
        return self._first_at + FLUSH_AFTER if self._pending else None

    def add(self, events: Iterable[CacheEvent], now: int, today: int) -> list[EventBatch]:
        """Take events; return the batches that are full, or due. `today` is in ns since the Unix epoch."""
        for event in events:
            if not self._pending:
                self._first_at = now
            self._pending.append(event)
        full = len(self._pending) - len(self._pending) % self.batch_size
        batches = [
            self._batch(self._pending[at : at + self.batch_size], today) for at in range(0, full, self.batch_size)
        ]
        if full:
            del self._pending[:full]
            self._first_at = now
        if self.due_at is not None and self.due_at <= now:
            batches += self.flush(today)
        return batches

    def flush(self, today: int) -> list[EventBatch]:
        """Whatever is pending, as a batch."""
        pending, self._pending = self._pending, []
        return [self._batch(pending, today)] if pending else []

    def since(self, sequence: int) -> list[EventBatch]:
        """The kept batches from this number on."""
        return [batch for batch in self._kept if batch.sequence >= sequence]

    def _batch(self, events: list[CacheEvent], today: int) -> EventBatch:
        encode = as_map if self.encoding == MAP else as_array
        payload: bytes = msgpack.packb([today / 1e9, [encode(event) for event in events], self.rank])
        batch = EventBatch(self._next, payload)
        self._next += 1
        self._kept.append(batch)
        return batch


def as_map(event: CacheEvent) -> dict[str, Any]:
    """The event as vLLM 0.32 encodes it."""
    match event:
        case BlocksStored():
            extra = [event.adapter] if event.adapter is not None else None
            return {
                "type": "BlockStored",
                "block_hashes": [as_number(block) for block in event.hashes],
                "parent_block_hash": as_number(event.parent) if event.parent is not None else None,
                "token_ids": list(event.tokens),
                "block_size": event.block_size,
                "lora_id": event.adapter_id,
                "medium": MEDIUM,
                "lora_name": event.adapter,
                "extra_keys": [extra for _ in event.hashes],
                "group_idx": GROUP,
                "kv_cache_spec_kind": ATTENTION,
            }
        case BlocksRemoved():
            return {
                "type": "BlockRemoved",
                "block_hashes": [as_number(block) for block in event.hashes],
                "medium": MEDIUM,
                "group_idx": GROUP,
            }
        case CacheCleared():
            return {"type": "AllBlocksCleared"}


def as_array(event: CacheEvent) -> list[Any]:
    """The event in places. A first block has the parent 0, as in llm-d-inference-sim."""
    match event:
        case BlocksStored():
            return [
                "BlockStored",
                [as_number(block) for block in event.hashes],
                as_number(event.parent) if event.parent is not None else 0,
                list(event.tokens),
                event.block_size,
                event.adapter_id,
                MEDIUM,
                event.adapter,
                None,
            ]
        case BlocksRemoved():
            return ["BlockRemoved", [as_number(block) for block in event.hashes], MEDIUM]
        case CacheCleared():
            return ["AllBlocksCleared"]
