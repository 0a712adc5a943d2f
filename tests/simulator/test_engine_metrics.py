"""Events of the engine, in ns, become observations in seconds. What a whole server shows is in `test_state`."""

from __future__ import annotations

import random

import pytest

from replayproxy.simulator.adapters import Adapters
from replayproxy.simulator.engine import Engine
from replayproxy.simulator.engine_metrics import EngineMetrics
from replayproxy.simulator.kv_cache import KvCache
from replayproxy.simulator.kv_rule import KvCacheRule
from replayproxy.simulator.metrics import Histogram, Metrics
from replayproxy.simulator.sequence import EngineSequence
from tests.doubles.virtual_clock import VirtualClock

SECOND = 1_000_000_000


def following() -> EngineMetrics:
    """Metrics of an engine that does nothing by itself."""
    adapters, clock = Adapters(("tiny",)), VirtualClock()
    one = EngineMetrics(Metrics(max_model_len=100), adapters, KvCacheRule(KvCache(8), adapters), clock)
    one.engine = Engine(clock)
    return one


def sequence(index: int = 0, choices: int = 1) -> EngineSequence:
    """A choice that came at 10 s."""
    one = EngineSequence("r", index, "tiny", [1, 2, 3], 2, random.Random(1), choices=choices, finish_reason="stop")
    one.arrived_at = 10 * SECOND
    return one


def sums(one: EngineMetrics, *names: str) -> list[float]:
    """The sum of each histogram; the value of each counter."""
    samples = one.metrics.series(one.state()).samples
    found = []
    for name in names:
        ((_, value), *_) = samples[name]
        found.append(value.total if isinstance(value, Histogram) else value)
    return found


def test_a_prefill_for_another_server_has_no_token() -> None:
    """Its prefill lasts until its end."""
    one, prefill = following(), sequence()
    one.accepted(prefill, 0)
    prefill.started_at = 11 * SECOND
    one.started(prefill, 0)
    prefill.finish_reason = "length"
    one.finished(prefill, 15 * SECOND)
    names = ("e2e_request_latency_seconds", "request_queue_time_seconds", "request_prefill_time_seconds")
    assert sums(one, *names, "request_decode_time_seconds", "generation_tokens") == [5, 1, 4, 0, 0]


def test_a_request_ends_with_its_last_choice() -> None:
    """Also where one of them was given up."""
    one = following()
    first, second = sequence(0, 2), sequence(1, 2)
    for choice in (first, second):
        one.accepted(choice, 0)
    first.generated, second.generated = 7, 3
    one.finished(first, 12 * SECOND)
    assert sums(one, "request_params_n") == [0]
    one.failed(second, 13 * SECOND)
    assert sums(one, "request_params_n", "request_max_num_generation_tokens") == [2, 7]


def test_a_rejection_counts_once_per_request() -> None:
    """Not per choice."""
    one = following()
    for index in range(3):
        one.rejected(sequence(index, 3), 0)
    assert sums(one, "admission_rejections") == [1]


def test_an_engine_that_was_never_set() -> None:
    """Is a mistake in the program, and says so."""
    one = following()
    one.engine = None
    with pytest.raises(AssertionError, match="never set"):
        one.state()
