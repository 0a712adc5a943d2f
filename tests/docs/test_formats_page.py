"""The page on formats: its table is that of the program."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from replayproxy.formats.parquet import PARQUET
from tests.docs.pages import PAGES, ROOT, blocks
from tests.formats.files import exported
from tools import format_table


def test_the_table_is_what_the_formats_say() -> None:
    """`make reference` would change nothing."""
    assert PAGES["docs/formats.md"] == format_table.page(), "run `make reference`"


def test_the_query_for_duckdb_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an export of the golden cassette: the gaps between chunks by model."""
    (tmp_path / "chat.parquet").write_bytes(exported(ROOT / "cassettes" / "format-2.cassette", PARQUET))
    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in blocks("docs/formats.md", "python") if "duckdb" in block)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(block, {})  # noqa: S102  the page's own example
    assert "tiny" in printed.getvalue()
