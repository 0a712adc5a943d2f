"""Tests of `cli/config_example`: every key, in a form that can be used as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from replayproxy.cli.config_example import SERVING, example_of
from replayproxy.cli.config_file import read_sections, takes_several
from replayproxy.cli.main import replayproxy, verb_named
from replayproxy.setting_table import flag, of_verb
from tools import reference

assert isinstance(replayproxy, click.Group)
GROUP = replayproxy


def keys(text: str) -> list[str]:
    """The keys that stand there as comments."""
    return re.findall(r"^  # ([a-z][a-z-]*): ", text, re.MULTILINE)


@pytest.mark.parametrize("verb", [verb for verb in SERVING if verb != "ctl"])
def test_it_has_every_setting_of_a_verb(verb: str) -> None:
    """Each once."""
    assert set(keys(example_of(GROUP, [verb]))) >= {flag(row.name).removeprefix("--") for row in of_verb(verb)}


@pytest.mark.parametrize("verb", SERVING)
def test_each_line_can_be_used(tmp_path: Path, verb: str) -> None:
    """Without its # it is a key with a value that the option reads."""
    file = tmp_path / "c.yaml"
    values: dict[str, object] = {}
    for line in example_of(GROUP, [verb]).splitlines():
        found = re.match(r"  # ([a-z][a-z-]*): ", line)
        if found and found[1] in _flags(verb):
            values |= yaml.safe_load(line.removeprefix("  # "))
    assert values.keys() >= set(keys(example_of(GROUP, [verb]))) & _flags(verb)
    file.write_text(yaml.safe_dump({verb: values}))
    read = read_sections(GROUP, file)
    assert read.mistakes == []
    command = verb_named(verb)
    for one in command.commands.values() if isinstance(command, click.Group) else [command]:
        for parameter in one.params:
            section = read.defaults[verb][one.name] if isinstance(command, click.Group) else read.defaults[verb]
            if isinstance(parameter, click.Option) and parameter.name in section:
                assert isinstance(section[parameter.name], list) == takes_several(parameter)
                parameter.type_cast_value(click.Context(one), section[parameter.name])


def _flags(verb: str) -> set[str]:
    command = verb_named(verb)
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    return {flag.removeprefix("--") for one in commands for parameter in one.params for flag in parameter.opts}


def test_nothing_is_set_as_it_stands() -> None:
    """A copy of it changes nothing."""
    assert yaml.safe_load(example_of(GROUP, SERVING)) == dict.fromkeys(SERVING)


def test_the_file_in_examples_is_what_the_program_writes() -> None:
    """`make reference` would change nothing."""
    assert reference.EXAMPLE.read_text("utf-8") == reference.configuration(), "run `make reference`"


def test_an_unknown_verb_is_refused() -> None:
    """With the nearest one."""
    with pytest.raises(click.UsageError, match=r"there is no verb 'recrod' \(did you mean record\?\)"):
        example_of(GROUP, ["recrod"])
