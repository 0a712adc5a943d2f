"""Tests of `cli/setting_options`: what click is told of a row of the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from replayproxy.cli.setting_options import click_type, setting_options
from replayproxy.setting_kinds import (
    Choice,
    Duration,
    File,
    Json,
    Kind,
    Latency,
    Number,
    Port,
    Size,
    Speed,
    Text,
    Whole,
)

TYPES: list[tuple[Kind, str, str, Any]] = [
    # kind, its name in --help, a value, what the verb gets
    (Text(), "text", "a", "a"),
    (File(), "path", "a", Path("a")),
    (Choice(("a", "b")), "choice", "b", "b"),
    (Number(), "float", "0.5", 0.5),
    (Whole(0, 9), "integer range", "7", 7),
    (Whole(), "integer", "-7", -7),
    (Duration(), "duration", "1m", 60.0),
    (Latency(), "latency", "50", "50"),
    (Json(), "json", "[1]", [1]),
    (Size(), "size", "1KiB", 1024),
    (Speed(), "speed", "2", 2.0),
    (Speed(), "speed", "max", "max"),
    (Port(), "port", "80", 80),
    (Port(or_off=True), "port|off", "80", 80),
    (Port(or_off=True), "port|off", "off", -1),
]


@pytest.mark.parametrize(("kind", "name", "text", "value"), TYPES)
def test_a_kind_has_a_type_of_click(kind: Kind, name: str, text: str, value: Any) -> None:
    """With a name for `--help`; `max` and `off` are not None, which click takes for a value that is not given."""
    option = click.Option(["--x"], type=click_type(kind))
    assert option.type.name == name
    context = click.Context(click.Command("verb"))
    assert option.type_cast_value(context, text) == value


def test_a_wrong_value_is_an_error_of_click() -> None:
    """With the sentence of the kind."""
    option = click.Option(["--x"], type=click_type(Duration()))
    with pytest.raises(click.BadParameter, match="'soon' is not a duration: write 200ms, 25s or 10m"):
        option.type_cast_value(click.Context(click.Command("verb")), "soon")


def test_groups_stand_in_the_order_given() -> None:
    """Only the rows that the verb has: `exec` stores headers, and has no other option of a recorder."""

    @click.command
    @setting_options("exec", "record", "miss")
    def verb(**_: object) -> None:
        """A verb."""

    assert [option.name for option in verb.params] == ["keep_header", "drop_header", "on_miss"]
    assert verb.params[2].default == "refuse"
