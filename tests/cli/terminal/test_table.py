"""Tests of `cli/table`: columns for people."""

from __future__ import annotations

from typing import Any

from replayproxy.cli.terminal.screen import Line
from replayproxy.cli.terminal.table import SAMPLE, Column, layout, measured

COLUMNS = [
    Column("ID", lambda row: row["id"], left=True),
    Column("MODEL", lambda row: row["model"], left=True, flexible=5),
    Column("IN", lambda row: row.get("in", ""), spare=1),
    Column("OUT", lambda row: row["out"], spare=2),
]
ROWS = [{"id": "7f3a", "model": "Qwen/Qwen3-32B", "out": "311"}, {"id": "8b", "model": "tiny", "out": "1\u2009024"}]


def drawn(rows: list[dict[str, Any]], width: int | None) -> list[str]:
    """Heading and rows as text."""
    laid = layout(COLUMNS, rows, width)
    return [text(line) for line in (laid.heading(), *map(laid.row, rows))]


def text(line: Line) -> str:
    """Without its styles."""
    return "".join(span.text for span in line)


def test_without_a_width_nothing_is_cut() -> None:
    """Numbers to the right, names to the left, a dash for nothing."""
    assert drawn(ROWS, None) == [
        "ID    MODEL           IN    OUT",
        "7f3a  Qwen/Qwen3-32B   -    311",
        "8b    tiny             -  1\u2009024",
    ]


def test_on_a_narrow_terminal() -> None:
    """Names are cut as far as they may be; then the column that says nothing goes, then the most spare."""
    assert drawn(ROWS, 28)[1] == "7f3a  Qwen/Qwen3…   -    311"
    assert drawn(ROWS, 22)[1] == "7f3a  Qwen…   -    311"
    assert drawn(ROWS, 20) == ["ID    MODEL      OUT", "7f3a  Qwen/Q…    311", "8b    tiny     1\u2009024"]
    assert drawn(ROWS, 12) == ["ID    MODEL ", "7f3a  Qwen/…", "8b    tiny  "]
    assert layout(COLUMNS, ROWS, 12).hidden == ("IN", "OUT")


def test_no_line_is_wider_than_the_terminal() -> None:
    """As long as what cannot be left out has room."""
    for width in range(11, 60):
        assert all(len(line) <= width for line in drawn(ROWS, width)), width


def test_a_name_whose_end_tells_more_keeps_its_end() -> None:
    """`meta-llama/Llama-3.1-70B-Instruct` and its sister differ there."""
    columns = [Column("MODEL", lambda row: row["model"], left=True, flexible=5, tail=True)]
    names = ["org/Llama-8B-Instruct", "org/Llama-70B-Instruct", "通义千问", "tiny"]
    laid = layout(columns, [{"model": name} for name in names], 14)
    assert [text(laid.row({"model": name})) for name in names] == [
        "…a-8B-Instruct",
        "…-70B-Instruct",
        "通义千问      ",
        "tiny          ",
    ]


def test_wide_letters_count_twice() -> None:
    """Columns stay straight below a name in Chinese."""
    rows = [{"id": "1", "model": "通义千问", "out": "5"}, {"id": "2", "model": "tiny", "out": "6"}]
    assert drawn(rows, None)[1:] == ["1   通义千问   -    5", "2   tiny       -    6"]


def test_controls_are_visible_and_measured_so() -> None:
    """A cell moves no cursor."""
    rows = [{"id": "\x1b[2J", "model": "a\nb", "out": "5"}]
    assert drawn(rows, None)[1] == "\\x1b[2J  a\\nb    -    5"


def test_millions_of_rows_are_not_held() -> None:
    """The first thousand say how wide; the others are asked for one by one."""
    asked = 0

    def many() -> Any:
        nonlocal asked
        for asked in range(10**9):
            yield {"id": str(asked), "model": "m", "out": "1"}

    laid, rows = measured(COLUMNS, many())
    assert asked < SAMPLE + 1
    assert text(laid.row(next(iter(rows)))).split() == ["0", "m", "-", "1"]


def test_no_rows() -> None:
    """The heading alone."""
    assert drawn([], 80) == ["ID  MODEL  IN  OUT"]
