"""Rows of exports: in every layout, with times in every spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.formats.logs import first_row, moment, parsed_text, rows_of
from replayproxy.formats.source import SourceFile, UnreadableSource


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('{"a":1}\n{"a":2}\n', [("line 1", {"a": 1}), ("line 2", {"a": 2})]),
        ('[{"a":1},{"a":2}]', [("row 1", {"a": 1}), ("row 2", {"a": 2})]),
        ('{\n"data": [{"a":1}]\n}', [("row 1", {"a": 1})]),
        ('{\n"a": 1\n}', [("row 1", {"a": 1})]),
    ],
)
def test_rows_are_found_in_every_layout(content: str, rows: list[object], tmp_path: Path) -> None:
    """Lines, a list, a list under `data`, one object."""
    path = tmp_path / "a"
    path.write_text(content)
    assert list(rows_of(SourceFile(path))) == rows
    assert first_row(SourceFile(path)) == {"a": 1}


@pytest.mark.parametrize("content", ["[7]", "7", "[{]"])
def test_what_is_not_rows_is_refused(content: str, tmp_path: Path) -> None:
    """With the row."""
    path = tmp_path / "a"
    path.write_text(content)
    with pytest.raises(UnreadableSource):
        list(rows_of(SourceFile(path)))


def test_a_long_document_shows_its_names(tmp_path: Path) -> None:
    """Its beginning is not JSON by itself."""
    path = tmp_path / "a"
    path.write_text('[{"traceId": "x", "input": "' + "y" * 100_000 + '"}]')
    assert {"traceId", "input"} <= first_row(SourceFile(path)).keys()


def test_times_are_seconds_or_texts() -> None:
    """The first that is there."""
    assert moment({"a": None, "b": 1.5}, "a", "b") == 1_500_000_000
    assert moment({"a": "1970-01-01T00:00:02Z"}, "a") == 2_000_000_000
    assert moment({}, "a") is None


def test_json_in_a_text_is_read() -> None:
    """Other texts stay."""
    assert parsed_text('{"a":1}') == {"a": 1}
    assert parsed_text("{no") == "{no"
