"""Events leave in batches with consecutive numbers, in the encoding of vLLM, and stay for those who missed them."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from replayproxy.simulator.kv_cache import BlocksRemoved, BlocksStored, CacheCleared, CacheEvent
from replayproxy.simulator.kv_events import FLUSH_AFTER, EventBatch, EventLog

TODAY = 1_760_000_000_500_000_000

ONE, TWO, PARENT = (bytes(24) + number.to_bytes(8, "big") for number in (1, 2**64 - 1, 7))

STORED = BlocksStored((ONE, TWO), PARENT, (5, 6, 7, 8), 2)
FIRST = BlocksStored((ONE,), None, (5, 6), 2, "sql", 3)
REMOVED = BlocksRemoved((TWO,))


def read(batch: EventBatch) -> Any:
    """The payload."""
    return msgpack.unpackb(batch.payload)


def test_the_encoding_of_vllm() -> None:
    """Batches are arrays; events are maps with a type, in the order of the fields of vLLM's structs."""
    (batch,) = EventLog(batch_size=4, rank=1).add([STORED, FIRST, REMOVED, CacheCleared()], 0, TODAY)
    at, events, rank = read(batch)
    assert (at, rank) == (1_760_000_000.5, 1)
    assert [list(event.items()) for event in events] == [
        [
            ("type", "BlockStored"),
            ("block_hashes", [1, 2**64 - 1]),
            ("parent_block_hash", 7),
            ("token_ids", [5, 6, 7, 8]),
            ("block_size", 2),
            ("lora_id", None),
            ("medium", "GPU"),
            ("lora_name", None),
            ("extra_keys", [None, None]),
            ("group_idx", 0),
            ("kv_cache_spec_kind", "full_attention"),
        ],
        [
            ("type", "BlockStored"),
            ("block_hashes", [1]),
            ("parent_block_hash", None),
            ("token_ids", [5, 6]),
            ("block_size", 2),
            ("lora_id", 3),
            ("medium", "GPU"),
            ("lora_name", "sql"),
            ("extra_keys", [["sql"]]),
            ("group_idx", 0),
            ("kv_cache_spec_kind", "full_attention"),
        ],
        [("type", "BlockRemoved"), ("block_hashes", [2**64 - 1]), ("medium", "GPU"), ("group_idx", 0)],
        [("type", "AllBlocksCleared")],
    ]


def test_the_encoding_of_llm_d_inference_sim() -> None:
    """Each field has its place, and a first block the parent 0."""
    (batch,) = EventLog(encoding="array", batch_size=4).add([STORED, FIRST, REMOVED, CacheCleared()], 0, TODAY)
    assert read(batch)[1] == [
        ["BlockStored", [1, 2**64 - 1], 7, [5, 6, 7, 8], 2, None, "GPU", None, None],
        ["BlockStored", [1], 0, [5, 6], 2, 3, "GPU", "sql", None],
        ["BlockRemoved", [2**64 - 1], "GPU"],
        ["AllBlocksCleared"],
    ]


@pytest.mark.parametrize(
    ("arrivals", "published"),
    [
        # (time in s, number of events) -> numbers of events in the batches
        ([(0, 1), (0.5, 1)], []),
        ([(0, 1), (0.5, 1), (1, 0)], [2]),
        ([(0, 3)], [3]),
        ([(0, 7)], [3, 3]),
        ([(0, 7), (0.9, 1)], [3, 3]),
        ([(0, 7), (1, 1)], [3, 3, 2]),
        ([(0, 0), (5, 0)], []),
    ],
)
def test_a_batch_leaves_when_it_is_full_or_a_second_old(
    arrivals: list[tuple[float, int]], published: list[int]
) -> None:
    """Whichever comes first; there are no empty batches."""
    log = EventLog(batch_size=3)
    batches: list[EventBatch] = []
    for at, count in arrivals:
        events: list[CacheEvent] = [REMOVED] * count
        batches += log.add(events, round(at * FLUSH_AFTER), TODAY)
    assert [len(read(batch)[1]) for batch in batches] == published
    assert [batch.sequence for batch in batches] == list(range(len(published)))


def test_when_the_next_batch_is_due() -> None:
    """A second after the first event of it; never, where nothing waits."""
    log = EventLog(batch_size=3)
    due = [log.due_at]
    for at, count in ((10, 1), (20, 1), (30, 2)):
        log.add([REMOVED] * count, at, TODAY)
        due.append(log.due_at)
    assert due == [None, 10 + FLUSH_AFTER, 10 + FLUSH_AFTER, 30 + FLUSH_AFTER]
    assert [batch.sequence for batch in log.flush(TODAY)] == [1]
    assert (log.due_at, log.flush(TODAY)) == (None, [])


def test_a_gap_is_complete() -> None:
    """Who missed batches gets each of them again, the same bytes, as far back as they are kept."""
    log = EventLog(batch_size=1, kept=4)
    sent = log.add([REMOVED] * 6, 0, TODAY)
    assert log.since(3) == sent[3:]
    assert log.since(0) == sent[2:]
    assert log.since(6) == []
    assert sent[3].sequence_bytes == b"\0\0\0\0\0\0\0\3"
