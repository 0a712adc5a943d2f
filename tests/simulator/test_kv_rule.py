"""A sequence takes blocks when it starts, fills them as it generates, and gives them back when it ends."""

from __future__ import annotations

import random

from replayproxy.simulator.adapters import Adapters
from replayproxy.simulator.kv_cache import BlocksStored, CacheCleared, CacheEvent, KvCache
from replayproxy.simulator.kv_rule import KvCacheRule
from replayproxy.simulator.listeners import Admission
from replayproxy.simulator.sequence import EngineSequence


def sequence(prompt: list[int], output: list[int], adapter: str | None = None) -> EngineSequence:
    """One with a prompt, and the ids that it will generate."""
    return EngineSequence("r", 0, "tiny", prompt, len(output), random.Random(1), output=output, adapter=adapter)


def rule(blocks: int = 4, events: list[CacheEvent] | None = None, *, shares: bool = True) -> KvCacheRule:
    """A rule over a cache of blocks of four tokens, with the adapter `sql`."""
    adapters = Adapters(("tiny",))
    adapters.load({"lora_name": "sql", "lora_path": "/sql"})
    noted = [] if events is None else events
    return KvCacheRule(KvCache(blocks, 4, shares=shares), adapters, noted.extend)


def generate(one: KvCacheRule, of: EngineSequence, tokens: int) -> None:
    """The engine has so many tokens."""
    for _ in range(tokens):
        of.generated += 1
        one.generated(of)


def test_a_second_prompt_finds_the_first_one_and_its_answer() -> None:
    """`cached_tokens` is set before the prefill begins."""
    one = rule()
    first = sequence([1, 2, 3, 4], [5, 6, 7, 8, 9])
    assert one.admit(first) is Admission.ADMITTED
    generate(one, first, 5)
    one.release(first)
    second = sequence([1, 2, 3, 4, 5, 6, 7, 8, 9], [])
    assert one.admit(second) is Admission.ADMITTED
    assert (first.cached_tokens, second.cached_tokens) == (0, 8)


def test_what_does_not_fit_waits_and_blocks_others() -> None:
    """Until enough is given back."""
    one = rule()
    first, second = sequence([1, 2, 3, 4], [5] * 9), sequence([11, 12, 13, 14, 15], [])
    assert [one.admit(first), one.admit(second)] == [Admission.ADMITTED, Admission.BLOCKED]
    one.release(first)
    assert one.admit(second) is Admission.ADMITTED


def test_changes_are_reported_with_the_number_of_the_adapter() -> None:
    """Whenever there are some."""
    events: list[CacheEvent] = []
    one = rule(events=events)
    first = sequence([1, 2, 3, 4], [5, 6, 7, 8, 9], "sql")
    one.admit(first)
    generate(one, first, 5)
    one.release(first)
    one.clear()
    stored = [event for event in events if isinstance(event, BlocksStored)]
    assert [(event.tokens, event.adapter, event.adapter_id) for event in stored] == [
        ((1, 2, 3, 4), "sql", 1),
        ((5, 6, 7, 8), "sql", 1),
    ]
    assert isinstance(events[-1], CacheCleared)


def test_tokens_without_ids_are_not_cached() -> None:
    """There is nothing to hash."""
    one = rule()
    first = sequence([1, 2, 3, 4], [])
    one.admit(first)
    generate(one, first, 9)
    assert one.cache.held == 1


def test_a_cache_that_shares_nothing_has_nothing_to_forget() -> None:
    """And reports nothing."""
    events: list[CacheEvent] = []
    one = rule(events=events, shares=False)
    one.admit(sequence([1, 2, 3, 4], [5]))
    one.clear()
    assert (events, one.cache.held) == ([], 1)
