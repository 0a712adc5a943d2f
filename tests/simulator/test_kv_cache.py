"""Blocks are shared by prefix, held while a request runs, kept after it, and evicted when others need their place."""

from __future__ import annotations

import pytest

from replayproxy.simulator.kv_cache import (
    Allocation,
    BlocksRemoved,
    BlocksStored,
    CacheCleared,
    CacheTooSmall,
    KvCache,
)

A = list(range(1, 9))
"""Eight tokens: two blocks of four."""
B = [11, 12, 13, 14, 15, 16, 17, 18]


def cache(blocks: int = 8, *, shares: bool = True) -> KvCache:
    """A cache of blocks of four tokens."""
    return KvCache(blocks, 4, shares=shares)


def run(one: KvCache, tokens: list[int], most: int = 0) -> Allocation:
    """Start a request."""
    allocation = one.allocate(tokens, most, "m")
    assert allocation is not None
    return allocation


def has_room(one: KvCache, tokens: list[int], most: int = 0) -> bool:
    """Whether a request would start; it does not stay."""
    allocation = one.allocate(tokens, most, "m")
    if allocation is not None:
        one.release(allocation)
    return allocation is not None


def kinds(one: KvCache) -> list[str]:
    """What has changed, in short."""
    names = {BlocksStored: "stored", BlocksRemoved: "removed", CacheCleared: "cleared"}
    return [f"{names[type(event)]} {len(getattr(event, 'hashes', ()))}" for event in one.take_events()]


# Hits


def test_a_prompt_hits_what_an_earlier_one_has_left() -> None:
    """Full blocks only, and not that of its last token, which is computed in any case."""
    one = cache()
    first = run(one, A)
    assert first.cached_tokens == 0
    one.release(first)
    assert [one.hit(tokens, "m") for tokens in (A, [*A, 9], A[:5], A[:4], B)] == [4, 8, 4, 0, 0]
    assert run(one, [*A, 9]).cached_tokens == 8


def test_a_running_prompt_is_hit_too() -> None:
    """Its blocks are shared: two equal prompts hold the blocks of one, besides what is not full."""
    one = cache()
    run(one, [*A, 9])
    assert one.held == 3
    run(one, [*A, 9])
    assert one.held == 4


def test_a_hit_ends_at_the_first_other_block() -> None:
    """What follows another block is another block."""
    one = cache()
    one.release(run(one, [*A, *B]))
    assert one.hit([*A, 99, *B], "m") == 8
    assert one.hit([99, *A, *B], "m") == 0


def test_an_adapter_has_its_own_blocks() -> None:
    """The same tokens mean other keys and values."""
    one = cache()
    one.release(run(one, [*A, 9]))
    assert one.hit([*A, 9], "m", "lora") == 0
    allocation = one.allocate([*A, 9], 0, "m", "lora", 7)
    assert allocation is not None
    one.release(allocation)
    assert one.hit([*A, 9], "m", "lora") == 8
    stored = one.take_events()[-1]
    assert isinstance(stored, BlocksStored)
    assert (stored.adapter, stored.adapter_id) == ("lora", 7)


# Usage


def test_usage_goes_up_with_tokens_and_down_with_the_end() -> None:
    """The share of blocks that running requests hold; cached ones of nobody do not count."""
    one = cache(blocks=4)
    seen = [one.usage]
    allocation = run(one, A, most=8)
    seen.append(one.usage)
    for token in range(100, 106):
        one.append(allocation, token)
        seen.append(one.usage)
    one.release(allocation)
    seen.append(one.usage)
    # A generated token is computed when the next one is generated.
    assert seen == [0.0, 0.5, 0.5, 0.75, 0.75, 0.75, 0.75, 1.0, 0.0]


def test_an_answer_is_cached_for_the_next_turn() -> None:
    """All of it but its last token, as in vLLM."""
    one = cache()
    allocation = run(one, A, most=6)
    for token in (101, 102, 103, 104, 105):
        one.append(allocation, token)
    one.release(allocation)
    assert one.hit([*A, 101, 102, 103, 104, 105, 7], "m") == 12
    assert kinds(one) == ["stored 2", "stored 1"]


def test_an_answer_that_is_cached_already_is_shared() -> None:
    """The second of two equal requests stores nothing, and holds no block twice."""
    one = cache()
    both = [run(one, A, most=6), run(one, A, most=6)]
    for token in (101, 102, 103, 104, 105):
        for allocation in both:
            one.append(allocation, token)
    assert one.held == 3
    assert kinds(one) == ["stored 2", "stored 1"]
    for allocation in both:
        one.release(allocation)
    assert one.held == 0


def test_without_sharing_blocks_are_only_counted() -> None:
    """A server without a simulated cache still has a usage that follows its load, and turns nobody away."""
    one = cache(blocks=4, shares=False)
    allocations = [run(one, A, most=100) for _ in range(3)]
    assert (one.usage, one.held, one.take_events()) == (1.0, 6, [])
    one.append(allocations[0], 1)
    one.append(allocations[0], 2)
    assert one.held == 7
    for allocation in allocations:
        one.release(allocation)
    assert (one.usage, one.hit(A, "m")) == (0.0, 0)


# Room


def test_there_is_room_for_what_a_request_may_come_to_need() -> None:
    """Nobody is preempted, so nobody starts whose tokens would not fit beside those promised to others."""
    one = cache(blocks=6)
    first = run(one, A, most=8)
    assert one.held == 2
    assert [has_room(one, B, most) for most in (0, 1)] == [True, False]
    assert has_room(one, A, 4), "its first block is that of the running request"
    one.release(first)
    assert has_room(one, B, 16)


def test_a_request_that_can_never_fit_is_refused() -> None:
    """Waiting would not help."""
    with pytest.raises(CacheTooSmall) as refused:
        run(cache(blocks=3), A, 5)
    assert (refused.value.needed, refused.value.existing) == (4, 3)


def test_promises_are_kept_to_the_last_token() -> None:
    """Two requests that fill the cache together end without needing a block that is not there."""
    one = cache(blocks=6)
    both = [run(one, A, most=4), run(one, B, most=4)]
    for token in range(100, 104):
        for allocation in both:
            one.append(allocation, token)
    assert one.held == 6
    for allocation in both:
        one.release(allocation)
    assert (one.held, has_room(one, A, 16)) == (0, True)


# Eviction


def test_what_was_used_longest_ago_goes_first_and_of_it_the_end() -> None:
    """A prefix is worth more than what follows it."""
    one = cache(blocks=4)
    one.release(run(one, A))
    one.release(run(one, B))
    one.release(run(one, A))  # used again
    assert kinds(one) == ["stored 2", "stored 2"]
    run(one, [21, 22, 23, 24])
    assert one.hit([*B, 0], "m") == 4
    assert one.hit([*A, 0], "m") == 8
    assert kinds(one) == ["removed 1", "stored 1"]


def test_blocks_in_use_are_never_evicted() -> None:
    """A full cache makes others wait."""
    one = cache(blocks=4)
    held = run(one, A)
    run(one, B)
    assert not has_room(one, [1])
    one.release(held)
    run(one, [21, 22, 23, 24])
    assert one.hit([*B, 0], "m") == 8


def test_a_cleared_cache_keeps_what_runs() -> None:
    """And says so once."""
    one = cache()
    running = run(one, [*A, 9])
    one.release(run(one, B))
    one.take_events()
    one.clear()
    assert kinds(one) == ["cleared 0"]
    assert (one.hit([*B, 0], "m"), one.hit([*A, 0], "m")) == (0, 8)
    one.release(running)


# Events


def test_an_event_holds_what_is_new() -> None:
    """All new blocks of a prompt in one event: their hashes, their tokens and the block before them."""
    one = cache()
    first = run(one, [*A, 9])
    second = run(one, [*A, *B])
    stored = one.take_events()
    assert stored == [
        BlocksStored(tuple(first.shared), None, tuple(A), 4),
        BlocksStored(tuple(second.shared[2:]), first.shared[1], tuple(B), 4),
    ]
    assert one.take_events() == []
