"""Comma-separated values: one line per exchange, safe for a spreadsheet."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from replayproxy.formats.comma_separated import COLUMNS, CSV, LONGEST_CELL
from tests.formats.files import export_of
from tests.recordings import asked, exchange, record, said, streamed


def table(path: Path) -> list[dict[str, str]]:
    """The lines of an export."""
    return list(csv.DictReader(io.StringIO(export_of(path, CSV)[0].decode(), newline="")))


def test_a_line_has_the_columns_the_prompt_and_the_answer(tmp_path: Path) -> None:
    """With line ends in a text, which a reader of CSV keeps."""
    path = record(tmp_path / "a.cassette", [exchange(asked('two\nlines, "quoted"'), said(streamed(["Hi", " you"])))])
    (row,) = table(path)
    assert tuple(row) == COLUMNS
    assert (row["prompt"], row["answer"]) == ('two\nlines, "quoted"', "Hi you")
    assert (row["model"], row["status"], row["method"]) == ("tiny", "200", "POST")


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    """A spreadsheet would run it."""
    texts = ["=cmd|'/C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "plain"]
    path = record(
        tmp_path / "a.cassette", [exchange(asked(text), said(streamed([text])), n) for n, text in enumerate(texts)]
    )
    for column in ("prompt", "answer"):
        assert [row[column] for row in table(path)] == [*(f"'{text}" for text in texts[:-1]), "plain"]


def test_a_text_that_is_too_long_for_a_cell_is_cut_and_counted(tmp_path: Path) -> None:
    """Excel would spread it over the next cells."""
    path = record(tmp_path / "a.cassette", [exchange(asked("x" * 40_000), said([b"ok"]))])
    content, done = export_of(path, CSV)
    assert list(done.notes.left_out.values()) == [1]
    assert content.count(b"x") < LONGEST_CELL + 100
