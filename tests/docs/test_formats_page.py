"""The page on formats: its table is that of the program."""

from __future__ import annotations

from tests.docs.pages import PAGES
from tools import format_table


def test_the_table_is_what_the_formats_say() -> None:
    """`make reference` would change nothing."""
    assert PAGES["docs/formats.md"] == format_table.page(), "run `make reference`"
