"""The names of formats on the command line: completed, listed, corrected."""

from __future__ import annotations

import click
import pytest

from replayproxy.cli.format_name import FormatName
from replayproxy.formats.table import names_read, names_written


def test_a_name_is_completed_from_its_beginning() -> None:
    """Only those that can be written, or read."""
    context = click.Context(click.Command("x"))
    parameter = click.Option(["--to"])
    found = FormatName(written=True).shell_complete(context, parameter, "c")
    assert [item.value for item in found] == [name for name in names_written() if name.startswith("c")]
    assert "curl" not in [item.value for item in FormatName(written=False).shell_complete(context, parameter, "")]


def test_all_names_are_known() -> None:
    """In the order of the table."""
    assert FormatName(written=False).names == names_read()
    assert FormatName(written=True).convert("har", None, None) == "har"


def test_an_unknown_name_is_corrected() -> None:
    """And the known ones are listed."""
    with pytest.raises(click.BadParameter, match=r"there is no format 'hra' \(did you mean har\?\): jsonl"):
        FormatName(written=True).convert("hra", None, None)
