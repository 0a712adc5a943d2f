"""Options of the command line out of the table of settings: flag, variable, default, type and help of each row.

A file of its own, because verbs that only look at a cassette start faster without the table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from replayproxy.cli.options import F, option
from replayproxy.setting_kinds import (
    BadValue,
    Choice,
    Duration,
    File,
    Flag,
    Json,
    Kind,
    Latency,
    Number,
    Port,
    Rotation,
    Size,
    Speed,
    Whole,
)
from replayproxy.setting_table import Setting, flag, of_verb


def setting_options(verb: str, *groups: str) -> Callable[[F], F]:
    """Add the settings that the table has for a verb, of these groups in this order, as options."""
    rows = [row for group in groups for row in of_verb(verb, group)]

    def decorate(function: F) -> F:
        for row in reversed(rows):
            function = _setting_option(row, verb)(function)
        return function

    return decorate


def _setting_option(row: Setting, verb: str) -> Callable[[F], F]:
    attributes: dict[str, Any] = {"help": row.meanings.get(verb, row.meaning), "group": row.group}
    declarations = [flag(row.name)]
    match row.kind:
        case Flag(negatable=True):
            declarations = [f"{flag(row.name)}/--no-{flag(row.name).removeprefix('--')}"]
            attributes["default"] = None  # click's own is False, and what is not given may be neither
        case Flag():
            attributes["is_flag"] = True
        case kind:
            attributes["type"] = click_type(kind)
    if row.short is not None:
        declarations.insert(0, row.short)
    if row.also is not None:
        declarations.append(row.also)
    if row.is_repeatable:
        attributes["multiple"] = True
    elif (default := row.default_for(verb)) is not None and attributes.get("is_flag") is None:
        attributes["default"] = default
    return option(*declarations, row.name, metavar=row.metavar, **attributes)


# Types


class Read(click.ParamType[Any]):
    """A value that a kind of the table of settings reads."""

    def __init__(self, kind: Kind, name: str) -> None:
        self.kind = kind
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.kind.read(value)
        except BadValue as error:
            self.fail(str(error), param, ctx)


class MaxOrFactor(Read):
    """A speed. Keeps `max` as it is written: click takes None for a value that is not given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(value, param, ctx) or "max"


class LatencyText(Read):
    """A latency. Keeps the text: read again, a number of seconds would be one of milliseconds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        super().convert(value, param, ctx)
        return str(value)


class JsonValue(Read):
    """A JSON value. A variable of the environment has one per line: a value has spaces in it."""

    envvar_list_splitter = "\n"


class PortNumber(click.IntRange):
    """A port. An `IntRange`, so that `--help` says which numbers it takes."""

    name = "port"

    def __init__(self) -> None:
        super().__init__(0, 65535)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return cast(int, Read(Port(), "port").convert(value, param, ctx))


class PortOrOff(Read):
    """A port, or `off`, which is -1: click takes None for a value that is not given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        port = super().convert(value, param, ctx)
        return -1 if port is None else port


def click_type(kind: Kind) -> click.ParamType[Any] | type:
    """What click needs to know of a kind: it names the type in `--help`, and completes choices and files."""
    match kind:
        case File():
            return click.Path(path_type=Path)
        case Choice(values):
            return click.Choice(values)
        case Whole(None, None):
            return click.INT  # a range without ends is shown as `x<=None`
        case Whole(least, most):
            return click.IntRange(least, most)
        case Number():
            return float
        case Latency():
            return LatencyText(kind, "latency")
        case Duration() | Size() | Rotation():
            return Read(kind, type(kind).__name__.lower())
        case Json():
            return JsonValue(kind, "json")
        case Speed():
            return MaxOrFactor(kind, "speed")
        case Port(or_off=True):
            return PortOrOff(kind, "port|off")
        case Port():
            return PortNumber()
    return str
