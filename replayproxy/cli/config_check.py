"""Check a configuration file as a whole: names, the form of each value, files that are named, and whether values fit.

`nginx -t` for the file of `--config`. Starts nothing, connects to nothing; collects every mistake instead of stopping
at the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from replayproxy.cli.config_file import ReadSections, flags_of, read_sections
from replayproxy.cli.options import is_unset, leaves
from replayproxy.core.policy import Mode
from replayproxy.errors import SettingsError

READ_AT_START = ("api-key-file", "admin-token-file", "ssl-keyfile", "ssl-certfile")
"""Keys that name a file which must be there when the proxy starts."""

MODES = {
    "record": Mode.RECORD,
    "replay": Mode.REPLAY,
    "auto": Mode.AUTO,
    "simulate": Mode.SIMULATE,
    "exec": Mode.REPLAY,
}

PLACEHOLDER = Path("chat.cassette")
"""For the cassette that the command line gives."""


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """The number of keys by section, and the mistakes, each a sentence."""

    sections: Mapping[str, int]
    mistakes: list[str]


def checked(group: click.Group, path: Path) -> CheckedFile:
    """Check a file. Raises `click.UsageError` if it cannot be read as sections."""
    read = read_sections(group, path)
    mistakes = list(read.mistakes)
    for verb, keys in read.keys.items():
        command = group.get_command(click.Context(group), verb)
        assert command is not None
        found = list(_bad_values(command, verb, keys))
        mistakes += found or _conflicts(command, verb, read)
    return CheckedFile({verb: len(keys) for verb, keys in read.keys.items()}, mistakes)


def _bad_values(command: click.Command, verb: str, keys: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with single values."""
    commands = [(click.Context(one, info_name=verb), flags_of(one)) for one in leaves(command)]
    for key, value in keys.items():
        context, parameter = next((context, flags[key]) for context, flags in commands if key in flags)
        several = parameter.multiple or parameter.nargs == -1
        given = [value] if several and not isinstance(value, list) else value
        try:
            parameter.type_cast_value(context, given)
        except click.BadParameter as error:
            yield f"{verb}: {key}: {error.message}"
        else:
            if key in READ_AT_START and not Path(str(value)).is_file():
                yield f"{verb}: {key}: there is no file {value}"


def _conflicts(command: click.Command, verb: str, read: ReadSections) -> Iterator[str]:
    """What is wrong with values together; the cassette and the live server may come from the command line."""
    mode = MODES.get(verb)
    if mode is None:
        return
    from replayproxy.api.options import settings_of

    context = click.Context(command, info_name=verb, default_map=read.defaults[verb])
    values = {one.name or "": _value(one, context) for one in command.params}
    cassettes = values.pop("cassette", None) or PLACEHOLDER
    needs_server = mode in (Mode.RECORD, Mode.AUTO) or values.get("on_miss") in ("forward", "record")
    if needs_server and not any(values.get(name) for name in ("upstream", "prefill", "decode")):
        values["upstream"] = "http://127.0.0.1:8000"
    try:
        settings_of(mode, cassettes if isinstance(cassettes, tuple) else (cassettes,), values)
    except SettingsError as error:
        error.spelling = _as_key
        yield f"{verb}: {error}"


def _value(parameter: click.Parameter, context: click.Context) -> Any:
    """What the file gives a parameter, or its default. The environment of the process that checks does not count."""
    given = parameter.get_default(context)
    return None if is_unset(given) else parameter.type_cast_value(context, given)


def _as_key(name: str, value: str) -> str:
    """`on-miss: forward`, as in the file."""
    return f"{name.replace('_', '-')}{': ' if value else ''}{value}"
