"""What `verify --pair` would find is counted while recording: once per exchange, after it is on the cassette."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.cassette import hand_over_counts
from replayproxy.cassette.hand_over_counts import HandOverCounts
from replayproxy.model import Exchange, Leg, Request
from replayproxy.ports import ExchangePart
from tests import wire
from tests.apps import pairing, run, running
from tests.core.pd.test_hand_over import ERROR, TICKET, decode, prefill
from tests.doubles.pair_double import pair
from tests.doubles.pair_faults import Say
from tests.doubles.pair_model import CHAT, error
from tests.pair_questions import ask


def part(*legs: Leg) -> ExchangePart:
    """A whole exchange with these legs, of which the client got the last answer."""
    return ExchangePart.of(1, Exchange(Request("POST", "/v1/chat/completions"), legs[-1].response, 1, legs))


def found(counts: HandOverCounts) -> dict[str, int]:
    """What was found at all."""
    return {code: number for code, number in counts.findings.items() if number}


def test_hand_overs_and_findings() -> None:
    """Clean ones, one that was found wrong, and a decode without a prefill are counted apart; codes begin at 0."""
    counts = HandOverCounts()
    assert set(counts.findings.values()) == {0}
    counts.note(part(prefill(), decode()))
    counts.note(part(prefill(ERROR)))
    counts.note(part(replace(decode(), request=Request("POST", "/v1/chat/completions"))))
    assert (counts.handed_over, counts.alone, found(counts)) == (2, 1, {"prefill_failed": 1})


def test_a_ticket_that_is_presented_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found in the second exchange, as long as the first one is remembered."""
    counts = HandOverCounts()
    for _ in range(2):
        counts.note(part(prefill(), decode()))
    assert found(counts) == {"ticket_reused": 1}
    monkeypatch.setattr(hand_over_counts, "MOST_TICKETS", 1)
    other = TICKET | {"remote_request_id": "cmpl-2"}
    counts.note(part(decode(params=other)))
    counts.note(part(decode()))
    assert found(counts)["ticket_reused"] == 1


def test_an_error_of_ours_costs_the_count_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever judging does, the writer goes on."""

    def fails(_: Exchange) -> None:
        raise RuntimeError

    monkeypatch.setattr(hand_over_counts, "judge_hand_over", fails)
    counts = HandOverCounts()
    counts.note(part(prefill(), decode()))
    assert (counts.handed_over, counts.alone) == (0, 0)


def test_metrics_of_a_recorded_pair(tmp_path: Path) -> None:
    """They are on the admin port from the start, and say what became of each hand-over."""

    async def scraped() -> tuple[str, str]:
        async with pair("nixl") as double:
            async with running(pairing(tmp_path / "a", double), admin=True) as proxy:
                assert proxy.admin_url is not None
                async with wire.connect(proxy.admin_url) as admin, wire.connect(proxy.url) as client:
                    before = await admin.ask(wire.get("/metrics"))
                    await client.ask(ask(CHAT, "one", temperature=0))
                    double.prefill.fault = Say(503, error(503, "busy", "ServiceUnavailable"))
                    await client.ask(ask(CHAT, "two", temperature=0))
                    await proxy.app.control.rotate()  # everything so far is written, and the counts go on
                    after = await admin.ask(wire.get("/metrics"))
        return before.body.decode(), after.body.decode()

    before, after = run(scraped())
    assert "replayproxy_hand_overs_total 0.0" in before
    assert 'replayproxy_hand_over_findings_total{code="ticket_reused"} 0.0' in before
    assert "replayproxy_hand_overs_total 2.0" in after
    assert 'replayproxy_hand_over_findings_total{code="prefill_failed"} 1.0' in after
