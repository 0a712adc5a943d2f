"""Uses of carried ids: to JSON and back, merged, and bounded."""

from __future__ import annotations

import pytest

from replayproxy.proxy.carried_ids import CarriedId, CarriedUse, merged_ids
from replayproxy.proxy.counters import Counters

ONE = CarriedId("s", "95b09ef8", "T-81c2f0", "T-9e04aa", 2, 1)


def test_to_json_and_back() -> None:
    """A use is read back as it was written; what lacks a part is refused."""
    assert CarriedId.from_document(ONE.document()) == ONE
    documents: list[object] = [{}, [], ONE.document() | {"requests": "2"}, ONE.document() | {"fresh": None}]
    for damaged in documents:
        with pytest.raises(ValueError, match="a carried id lacks"):
            CarriedId.from_document(damaged)


def test_the_sentence() -> None:
    """It names both ids, how often, the recording and the scope."""
    assert ONE.sentence == "T-9e04aa stood for the recorded T-81c2f0 (2 requests, 1 answer of 95b09ef8, scope s)"


def test_uses_of_several_proxies() -> None:
    """Equal uses are added up, in the order of the first; others stay apart."""
    other = CarriedId("", "95b09ef8", "T-81c2f0", "T-9e04aa", 1, 0)
    assert list(merged_ids([ONE, other, ONE])) == [
        CarriedId("s", "95b09ef8", "T-81c2f0", "T-9e04aa", 4, 2),
        other,
    ]


def test_uses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound uses are counted together, never dropped."""
    monkeypatch.setattr("replayproxy.proxy.counters.MOST_CARRIED", 2)
    counters = Counters()
    for number in range(5):
        counters.carry(CarriedUse("", "a", "b", str(number)), requests=1)
    assert [(one.fresh, one.requests) for one in CarriedId.of(counters.carried)] == [("0", 1), ("1", 1), ("others", 3)]
    counters.reset()
    assert not counters.carried
