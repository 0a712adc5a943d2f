"""A recorder that was scheduled too late says so, where gaps are looked at, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.cassette.browse import STARVED
from replayproxy.cassette.reader import CassetteReader
from replayproxy.model import Ending
from replayproxy.ports import ExchangePart
from replayproxy.views.starvation import delay
from tests.cli.tapes import MS, Read, chat, writing

SENTENCE = "the recorder was starved, up to 70 ms: gaps below that mean nothing"

ROWS: list[tuple[str, ExchangePart, float]] = [
    ("not starved", chat("a"), 0),
    ("as long as the gaps", replace(chat("b"), starved=14 * MS), 0.014),
    ("half as long", replace(chat("c"), starved=7 * MS), 0.007),
    ("short beside the gaps", replace(chat("d"), starved=6 * MS), 0),
    ("all in one read", replace(chat("e", at=(100, 100, 100)), starved=70 * MS), 0.07),
    ("one chunk", replace(chat("f", words=("x",), ending=Ending.CLIENT_LEFT), starved=70 * MS), 0),
]


@pytest.fixture
def starved(tmp_path: Path) -> Path:
    """A cassette of these."""
    path = tmp_path / "starved.cassette"
    with writing(path) as keep:
        for _, piece, _ in ROWS:
            keep(piece)
    return path


def test_it_matters_where_it_is_half_of_a_gap(starved: Path) -> None:
    """Of the mean gap, which is true also where all chunks came in one read; and SQL says the same."""
    with CassetteReader(starved) as cassette:
        rows = list(cassette.rows())
        chosen = [row["number"] for row in cassette.rows(STARVED)]
    assert [round(delay(row), 6) for row in rows] == [seconds for *_, seconds in ROWS]
    assert chosen == [row["number"] for row in rows if delay(row)]


def test_every_view_of_gaps_says_so(starved: Path, read: Read) -> None:
    """`show` of the answer, `stats` and `info` of all, `ls` in its last column; data has the seconds."""
    rows = json.loads(read("ls", starved, "--json").out)
    assert [row["starved_s"] for row in rows] == [0, 0.014, 0.007, 0.006, 0.07, 0.07]
    assert SENTENCE in read("show", starved, rows[4]["id"]).out
    assert "starved" not in read("show", starved, rows[3]["id"]).out
    assert f"{SENTENCE} (3 of " in read("stats", starved).out
    assert f"3 answers: {SENTENCE}" in read("info", starved).out
    assert read("ls", starved).out.count("  starved ") == 3
    assert json.loads(read("info", starved, "--json").out)["starved"] == {"answers": 3, "longest_s": 0.07}
    figures = {row["measure"]: row for row in json.loads(read("stats", starved, "--json").out)}
    assert (figures["starved_s"]["n"], figures["starved_s"]["max"]) == (3, 0.07)


def test_nothing_is_said_where_nothing_was_late(tmp_path: Path, read: Read) -> None:
    """No line, no figure."""
    path = tmp_path / "fine.cassette"
    with writing(path) as keep:
        keep(chat("a"))
    for said in (read("stats", path).out, read("info", path).out, read("ls", path).out):
        assert "starved" not in said
    assert "starved_s" not in {row["measure"] for row in json.loads(read("stats", path, "--json").out)}
