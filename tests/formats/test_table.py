"""The table of formats: each is complete, each file is recognised as its own format and no other's."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.errors import SettingsError
from replayproxy.formats.format import Format
from replayproxy.formats.source import SourceFile, UnreadableSource
from replayproxy.formats.table import FORMATS, format_named, format_of, names_read, names_written
from tests.formats.files import every_kind, exported


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)
def test_a_format_is_complete(each: Format) -> None:
    """It reads or writes, says what it loses, and can be guessed if it reads."""
    assert each.write or each.read
    assert each.loses.endswith(".")
    assert each.suffix.startswith(".")
    assert (each.recognises is not None or each.takes_folder is not None) == (each.read is not None)


def test_names_are_different_and_can_be_typed() -> None:
    """In lower case, without blanks."""
    names = [each.name for each in FORMATS]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and " " not in name for name in names)


@pytest.mark.parametrize("each", [each for each in FORMATS if each.read and each.write], ids=lambda each: each.name)
def test_what_a_format_writes_it_recognises(each: Format, tmp_path: Path) -> None:
    """And no format before it in the table does."""
    path = tmp_path / "export"
    path.write_bytes(exported(every_kind(tmp_path), each))
    assert format_of(SourceFile(path)) is each


def test_an_unknown_file_lists_the_formats(tmp_path: Path) -> None:
    """With the option that names one."""
    path = tmp_path / "x"
    for content in (b"", b"\0" * 100, b"hello", b"[]", b"{}", b"\x1f\x8b"):
        path.write_bytes(content)
        with pytest.raises(UnreadableSource, match=r"jsonl, parquet, har.*--from|gzip"):
            format_of(SourceFile(path))


def test_an_unknown_name_is_refused() -> None:
    """With the names that there are."""
    with pytest.raises(SettingsError, match="there is no format 'xml': choose one of jsonl"):
        format_named("xml")
    assert "curl" not in names_read()
    assert "curl" in names_written()
