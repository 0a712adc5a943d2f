"""`verify --pair` on recordings of the double: each of its faults is named, and a pair that works is clean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.core.pd import PROTOCOLS
from replayproxy.model import Exchange, Leg
from replayproxy.views.pair_check import PairCheck, check_pairs, pair_fields
from tests import recordings, wire
from tests.apps import pairing, run, running
from tests.core.pd.test_hand_over import TICKET, answer, decode, prefill
from tests.doubles.pair_double import pair
from tests.doubles.pair_faults import Close, Fault, Hang, Reset, Say, SayLater, Tamper
from tests.doubles.pair_model import CHAT, error
from tests.pair_questions import ask

NO = Say(503, error(503, "busy", "ServiceUnavailable"))
OTHER_ENGINE = Tamper(lambda ticket: ticket | {"remote_engine_id": "engine-of-another"})


async def record(
    cassette: Path,
    protocol: str = "nixl",
    *,
    prefill: Fault | None = None,
    decode: Fault | None = None,
    lease: float = 30,
    times: int = 1,
    **options: Any,
) -> None:
    """Ask a pair with a fault."""
    timeout = 0.5 if any(isinstance(fault, Hang | SayLater) for fault in (prefill, decode)) else 30
    async with pair(protocol, lease=lease) as double:
        double.prefill.fault, double.decode.fault = prefill, decode
        settings = pairing(cassette, double, pair=options, upstream_timeout=timeout, stall_timeout=timeout)
        async with running(settings) as proxy, wire.connect(proxy.url) as connection:
            for number in range(times):
                await connection.ask(ask(CHAT, f"does it work {number}", temperature=0, stream=decode is not None))


def checked(cassette: Path) -> PairCheck:
    """Judge a file."""
    with CassetteBrowser.open(cassette) as browser:
        return check_pairs(browser)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pair_that_works_is_clean(tmp_path: Path, protocol: str) -> None:
    """Of each protocol: no finding, and the times of both legs."""
    run(record(tmp_path / "a", protocol, times=3))
    check = checked(tmp_path / "a")
    assert (check.exit_code, check.handed_over, dict(check.codes)) == (0, 3, {})
    assert len(check.times["prefill"]) == len(check.times["handover"]) == 3


FAULTS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("prefill says no", {"prefill": NO}, {"prefill_failed"}),
    ("prefill is silent", {"prefill": Hang()}, {"prefill_failed"}),
    ("prefill says no, later", {"prefill": SayLater(2.0)}, {"prefill_failed"}),
    ("prefill resets", {"prefill": Reset()}, {"prefill_failed"}),
    ("prefill closes within its answer", {"prefill": Close(3)}, {"prefill_failed"}),
    ("prefill gives no ticket", {"prefill": Tamper(lambda ticket: None)}, {"prefill_failed"}),
    ("prefill gives a ticket of another engine", {"prefill": OTHER_ENGINE}, {"decode_failed"}),
    ("decode says no", {"decode": NO}, {"decode_failed"}),
    ("decode falls silent", {"decode": Hang(3)}, {"decode_failed"}),
    ("decode is silent", {"decode": Hang()}, {"decode_failed", "stranded_prefill"}),
    ("decode resets within its answer", {"decode": Reset(3)}, {"decode_failed"}),
    ("decode closes within its answer", {"decode": Close(3)}, {"decode_failed"}),
    ("the lease has ended", {"lease": 0.0, "decode": None}, {"decode_failed"}),
    (
        "decode does it alone",
        {"prefill": NO, "on_prefill_error": "decode"},
        {"prefill_failed", "prompt_recomputed", "success_contradicts"},
    ),
]


@pytest.mark.parametrize(("name", "faults", "codes"), FAULTS, ids=[row[0] for row in FAULTS])
def test_each_fault_is_named(tmp_path: Path, name: str, faults: dict[str, Any], codes: set[str]) -> None:
    """By its code, with exit code 5."""
    run(record(tmp_path / "a", **faults))
    check = checked(tmp_path / "a")
    assert (set(check.codes), check.exit_code) == (codes, 5), name
    assert pair_fields(check)["verdict"] == "failed"


def exchange_of(*legs: Leg, number: int = 0) -> Exchange:
    """As a proxy stores it."""
    return replace(recordings.exchange(ask(CHAT, f"ask {number}"), answer(), number), legs=legs)


def test_a_ticket_that_is_used_twice_is_found_across_exchanges(tmp_path: Path) -> None:
    """As a router does that tries a decode again; the first user is named."""
    recordings.record(tmp_path / "a", [exchange_of(prefill(), decode(), number=number) for number in range(2)])
    check = checked(tmp_path / "a")
    assert dict(check.codes) == {"ticket_reused": 1}
    with CassetteBrowser.open(tmp_path / "a") as browser:
        assert browser.row(1)["id"] in check.judged[0].findings[0].text


def test_nothing_handed_over_is_not_clean(tmp_path: Path) -> None:
    """A recording of one server proves nothing of a pair."""
    recordings.record(tmp_path / "a", recordings.chats(3))
    check = checked(tmp_path / "a")
    assert (check.exit_code, check.is_clean, check.exchanges) == (9, False, 3)


def test_decodes_as_slow_as_prefills_are_a_suspicion() -> None:
    """No proof, so no finding; of short prefills nothing is said."""

    def check(prefill_s: float, ttft_s: float, count: int = 10) -> PairCheck:
        found = PairCheck("a", handed_over=count)
        found.times["prefill"], found.times["decode_ttft"] = [prefill_s] * count, [ttft_s] * count
        return found

    assert "computes the prompts again" in (check(0.5, 0.55).suspicion or "")
    assert check(0.5, 0.55).exit_code == 0
    assert check(0.5, 0.05).suspicion is None
    assert check(0.05, 0.05).suspicion is None
    assert check(0.5, 0.55, count=3).suspicion is None


def test_the_ticket_of_the_tests_is_whole() -> None:
    """So that a case fails for what it changes."""
    assert {"remote_engine_id", "remote_block_ids", "remote_request_id"} <= TICKET.keys()
