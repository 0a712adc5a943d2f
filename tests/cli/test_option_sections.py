"""Tests of `cli/option_sections`: each group of the table of settings stands under a title in `--help`."""

from __future__ import annotations

import re

import click
import pytest

from replayproxy.cli.main import verb_named
from replayproxy.cli.option_sections import REST, TITLES, sections
from replayproxy.setting_table import TABLE

LONG = ("record", "replay", "auto", "simulate", "exec")


def test_every_group_has_a_title() -> None:
    """Of those that verbs show as flags."""
    assert {row.group for row in TABLE.values() if row.verbs} - set(TITLES) == set()


@pytest.mark.parametrize("verb", LONG)
def test_every_option_stands_in_one_section(verb: str) -> None:
    """And the section `Options` has nothing but --help."""
    command = verb_named(verb)
    found = sections(command.get_params(click.Context(command)))
    assert [one.opts[-1] for one in found[REST] if isinstance(one, click.Option)] == ["--help"]
    assert sum(map(len, found.values())) == len(command.params) + 1


def test_the_help_has_the_titles_in_the_order_of_the_verb() -> None:
    """What a user needs first comes first."""
    command = verb_named("record")
    shown = command.get_help(click.Context(command, info_name="record"))
    titles = re.findall(r"^([A-Z][^:\n]+):$", shown, re.MULTILINE)
    assert titles[:3] == ["Live server", "Prefill/decode pair", "Ports and clients"]
    assert titles[-1] == "Options"


def test_p_means_one_thing() -> None:
    """A short flag is not a port for one verb and a parameter of SQL for another."""
    named: dict[str, set[str]] = {}
    for verb in (*LONG, "ls", "stats", "sql", "web", "prune", "wait"):
        for one in verb_named(verb).params:
            if isinstance(one, click.Option):
                for flag in one.opts:
                    if len(flag) == 2:
                        named.setdefault(flag, set()).add(one.opts[-1])
    assert {flag: names for flag, names in named.items() if len(names) > 1} == {}
