"""Tests of `views/listing`: which rows a list has, in which order; its table is tested in tests/cli/terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.model import Ending
from replayproxy.views import listing
from replayproxy.views.listing import ListedRow, PrintedRows, RowCount
from replayproxy.views.port import EVERYTHING, ExchangeFilter, RowOrder
from tests.cli.tapes import chat, writing


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[CassetteBrowser]]:
    """Two cassettes whose recordings alternate in time: a, b, c, d; b has four tokens in each chunk, d is cut."""
    with writing(tmp_path / "odd.cassette") as keep:
        keep(chat("a", usage=(1, 3), started=0), chat("c", usage=None, started=2000))
    with writing(tmp_path / "even.cassette") as keep:
        keep(
            chat("b", words=["w w w w "] * 4, usage=(9, 40), started=1000),
            chat("d", ending=Ending.CLIENT_LEFT, started=3000),
        )
    with ExitStack() as stack:
        paths = (tmp_path / "odd.cassette", tmp_path / "even.cassette")
        yield [stack.enter_context(CassetteBrowser.open(path)) for path in paths]


def seconds(rows: Iterator[ListedRow] | Sequence[ListedRow]) -> list[str]:
    """The second in which each was recorded."""
    return [row["recorded_at"][17:19] for row in rows]


ORDERS: list[tuple[RowOrder | None, int | None, list[str]]] = [
    (None, None, ["40", "41", "42", "43"]),
    (None, 3, ["41", "42", "43"]),
    (None, 9, ["40", "41", "42", "43"]),
    (RowOrder("recorded_at", descending=True), None, ["43", "42", "41", "40"]),
    (RowOrder("prompt_tokens"), None, ["40", "41", "42", "43"]),
    (RowOrder("prompt_tokens", descending=True), 2, ["41", "40"]),
]


@pytest.mark.parametrize(("order", "limit", "expected"), ORDERS)
def test_cassettes_are_merged(
    two: list[CassetteBrowser], order: RowOrder | None, limit: int | None, expected: list[str]
) -> None:
    """By time, the newest so many; or by a column, the first so many, rows without a value last."""
    rows = list(listing.rows(two, EVERYTHING, order, limit))
    assert seconds(rows) == expected
    assert {Path(row["cassette"]).name for row in rows} <= {"odd.cassette", "even.cassette"}


def test_rows_are_counted(two: list[CassetteBrowser]) -> None:
    """All, and those that meet the filter."""
    assert RowCount.of(two, EVERYTHING) == RowCount(4, 4)
    assert RowCount.of(two, ExchangeFilter("prompt_tokens > 1")) == RowCount(4, 1)


def test_streams_are_read_where_asked(two: list[CassetteBrowser]) -> None:
    """The median gap, and that nothing is missing where the last event came; a cut answer has no last event to miss."""
    plain = list(listing.rows(two, EVERYTHING))
    read = list(listing.with_streams(plain, two))
    assert [row.get("chunk_gap_p50_s") for row in read] == [0.02] * 4
    assert [row.get("missing_end", "not looked at") for row in read] == [None, None, None, "not looked at"]
    assert "chunk_gap_p50_s" not in plain[0]


def test_what_is_printed_is_watched(two: list[CassetteBrowser]) -> None:
    """How many, the first and the last, and whether a chunk had several tokens."""
    printed = PrintedRows()
    rows = list(printed.watch(listing.rows(two, EVERYTHING)))
    assert (printed.count, printed.first, printed.last, printed.any_bundled) == (4, rows[0], rows[-1], True)
    assert [listing.is_bundled(row) for row in rows] == [False, True, False, False]


def test_how_an_answer_ended(two: list[CassetteBrowser]) -> None:
    """Its finish reason, what cut it, or that it is not over."""
    assert [listing.ending(row) for row in listing.rows(two, EVERYTHING)] == ["stop", "stop", "stop", "client_left"]
    row = next(listing.rows(two, EVERYTHING))
    row["state"], row["ending"] = "open", None
    assert listing.ending(row) == "in flight"
