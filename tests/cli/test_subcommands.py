"""Tests of `cli/subcommands`: commands in their order, suggestions, and options that stand before the command."""

from __future__ import annotations

import click
import pytest

from replayproxy.cli.options import option, plain_option
from replayproxy.cli.subcommands import Subcommands

CALLS: list[tuple[str, object]] = []


@click.group(cls=Subcommands)
def ctl() -> None:
    """Control."""


@ctl.command
@option("--admin", default="here")
@plain_option("--json", is_flag=True)
def status(admin: str, json: bool) -> None:
    """First."""
    CALLS.append(("status", (admin, json)))


@ctl.command
@click.argument("miss", required=False)
@option("--admin", default="here")
def misses(miss: str | None, admin: str) -> None:
    """Second."""
    CALLS.append(("misses", (miss, admin)))


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (["status"], ("status", ("here", False))),
        (["status", "--admin", "a"], ("status", ("a", False))),
        (["--admin", "a", "status"], ("status", ("a", False))),
        (["--json", "--admin=a", "status"], ("status", ("a", True))),
        (["--admin", "misses", "status"], ("status", ("misses", False))),
        (["--admin", "a", "misses", "m-1"], ("misses", ("m-1", "a"))),
    ],
    ids=str,
)
def test_options_may_stand_before_the_command(words: list[str], call: tuple[str, object]) -> None:
    """As an alias with an address has them; a value that is called like a command is a value."""
    CALLS.clear()
    ctl.main(words, standalone_mode=False)
    assert [call] == CALLS


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("statsu", "ctl has no 'statsu' (did you mean status?)"), ("zzz", "ctl has no 'zzz': choose from status, misses")],
)
def test_an_unknown_command_is_refused_with_the_nearest(word: str, sentence: str) -> None:
    """Or with all of them."""
    with pytest.raises(click.UsageError) as refused:
        ctl.main([word], standalone_mode=False)
    assert refused.value.message == sentence


def test_commands_are_listed_in_the_order_in_which_they_were_added() -> None:
    """The one that is used most comes first."""
    assert ctl.list_commands(click.Context(ctl)) == ["status", "misses"]
