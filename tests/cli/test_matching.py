"""Whose match rules count: the cassette's, the flags', and what is said where they differ."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.identity.rules import MatchRules
from tests import wire
from tests.cli.commands import tape
from tests.cli.tapes import asked
from tests.processes import recording, replaying, running

YESTERDAY, TODAY = "on 2026-11-17, please", "on 2026-11-20, please"


def status(url: str, prompt: str) -> int:
    """Of the answer to a chat."""
    return asyncio.run(wire.ask(url, asked(prompt))).status


ROWS: list[tuple[str, list[str], int, bool]] = [
    ("the cassette's own", [], 404, False),
    ("the flags', with a warning", ["--match-normalise", "date"], 200, True),
    ("the same as the cassette's", ["--match", "default"], 404, False),
    ("the cassette's, whatever the flags say", ["--match-normalise", "date", "--match-from", "cassette"], 404, False),
    ("the flags', also where they say nothing", ["--match-from", "flags"], 404, False),
]


@pytest.mark.parametrize(("flags", "found", "warned"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_whose_rules_count(tmp_path: Path, flags: list[str], found: int, warned: bool) -> None:
    """A request that differs by a date is found where dates are normalised, and there only."""
    with replaying(tape(tmp_path / "a.cassette", YESTERDAY), *flags) as proxy:
        assert (status(proxy.url, YESTERDAY), status(proxy.url, TODAY)) == (200, found)
    words = "was recorded with --match default and is replayed with --match default --match-normalise 'date'"
    assert (words in proxy.said) is warned
    assert ("--match-normalise date" in proxy.said) is (found == 404)  # the hint of the miss


def test_rules_stay_on_the_cassette(tmp_path: Path) -> None:
    """Recorded with, replayed with; shown by `info`; and who records further by others is refused."""
    cassette = tmp_path / "a.cassette"
    flags = ("--match-normalise", "date", "--match-header", "X-Tenant")
    with running("simulate", "--model", "tiny", "--port", "0", "--admin-port", "off") as server:
        with recording(cassette, server.url, *flags) as proxy:
            assert status(proxy.url, YESTERDAY) == 200
        with CassetteReader(cassette) as opened:
            assert opened.rules == MatchRules(normalise=("date",), headers=("X-Tenant",))
        with pytest.raises(AssertionError, match="was recorded with other match rules"):
            recording(cassette, server.url, "--match", "exact").__enter__()
    with replaying(cassette) as proxy:
        assert status(proxy.url, TODAY) == 200
        request = asked(TODAY)
        tenant = wire.post(request.target, request.body, ("X-Tenant", "acme"))
        assert asyncio.run(wire.ask(proxy.url, tenant)).status == 404
