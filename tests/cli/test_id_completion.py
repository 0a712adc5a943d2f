"""Tests of `cli/id_completion`: ids of the cassette that was named, and silence where there are none."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from replayproxy.cli.id_completion import recording_ids
from replayproxy.cli.main import verb_named
from tests.cli.commands import tape


def offered(cassette: object, incomplete: str) -> dict[str, str | None]:
    """What is offered for the id of `show CASSETTE`, with the help beside it."""
    show = verb_named("show")
    context = click.Context(show)
    context.params["cassette"] = cassette
    return {item.value: item.help for item in recording_ids(context, show.params[1], incomplete)}


def test_ids_are_offered_with_what_they_are(tmp_path: Path) -> None:
    """All of them, or those that begin so; in capitals too."""
    cassette = tape(tmp_path / "a.cassette", "a", "b")
    found = offered(cassette, "")
    assert len(found) == 2
    assert {help and help.split()[:2] == ["POST", "/v1/chat/completions"] for help in found.values()} == {True}
    first = next(iter(found))
    assert offered(cassette, first[:5]) == offered(cassette, first[:5].upper()) == {first: found[first]}


@pytest.mark.parametrize("name", ["missing.cassette", "text.cassette", None])
def test_a_file_without_ids_offers_none(tmp_path: Path, name: str | None) -> None:
    """A shell shows no message; nor does it for what is no id."""
    (tmp_path / "text.cassette").write_text("text")
    assert offered(name and tmp_path / name, "") == {}
    assert offered(tape(tmp_path / "a.cassette", "a"), "xyz") == {}
