"""The file of `--config`: YAML, one section per verb, whose keys are the long flags.

Unknown verbs and keys are errors with a suggestion. A file of its own, because only `--config` needs a YAML parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml

from replayproxy.cli.options import leaves, suggestion


class _OnceEach(yaml.SafeLoader):
    """YAML in which no key stands twice: the second one would silently count."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """As a `SafeLoader` does. Raises `yaml.YAMLError`."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} stands there twice", problem_mark=key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The document of a file. Raises `click.UsageError`."""
    try:
        return yaml.load(path.read_text(), _OnceEach)  # noqa: S506  it is a SafeLoader
    except OSError as error:
        raise click.UsageError(f"--config {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--config {path} is not YAML: it is not UTF-8") from error
    except yaml.YAMLError as error:
        raise click.UsageError(f"--config {path} is not YAML: {error}") from error


def load_config(group: click.Group, path: Path) -> Mapping[str, Any]:
    """A `default_map` from YAML: one section per verb, keys are the long flags. Raises `click.UsageError`."""
    read = read_sections(group, path)
    if read.mistakes:
        raise click.UsageError(f"--config {path}: {read.mistakes[0]}")
    return read.defaults


@dataclass(slots=True)
class ReadSections:
    """What a file sets, as a `default_map` of click, and every mistake in its names and its form."""

    defaults: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By verb: the keys that are right, as they are written, with their values."""
    mistakes: list[str] = field(default_factory=list)


def read_sections(group: click.Group, path: Path) -> ReadSections:
    """Read a file. Raises `click.UsageError` if it is not YAML or has no sections."""
    document = read_yaml(path)
    read = ReadSections()
    if document is None:
        return read
    if not isinstance(document, dict):
        raise click.UsageError(f"--config {path} must have one section per verb, such as `record:`")
    context = click.Context(group)
    for verb, section in document.items():
        command = group.get_command(context, str(verb))
        if command is None:
            names = group.list_commands(context)
            read.mistakes.append(f"there is no verb {str(verb)!r}{suggestion(str(verb), names)}")
        elif not isinstance(section, dict | None):
            read.mistakes.append(f"section {verb} must have keys, such as `port: 8080`")
        else:
            _read_section(read, command, str(verb), section or {})
    return read


def _read_section(read: ReadSections, command: click.Command, verb: str, section: Mapping[Any, Any]) -> None:
    keys = read.keys[verb] = {}
    commands = list(leaves(command))
    flags = {key for one in commands for key in flags_of(one)}
    for key, value in section.items():
        parameter = next((found for one in commands if (found := flags_of(one).get(str(key)))), None)
        if parameter is None:
            read.mistakes.append(f"{verb} has no option {str(key)!r}{suggestion(str(key), flags)}")
        elif isinstance(value, list | dict) and not (takes_several(parameter) and isinstance(value, list)):
            read.mistakes.append(f"{verb}: {key} takes one value")
        else:
            keys[str(key)] = value
    if isinstance(command, click.Group):  # a key is for each of its commands that has such an option
        read.defaults[verb] = {str(one.name): _defaults(one, keys) for one in commands}
    else:
        read.defaults[verb] = _defaults(command, keys)


def _defaults(command: click.Command, keys: Mapping[str, Any]) -> dict[str, Any]:
    flags = flags_of(command)
    return {
        flags[key].name or "": [value] if takes_several(flags[key]) and not isinstance(value, list) else value
        for key, value in keys.items()
        if key in flags
    }


def takes_several(parameter: click.Parameter) -> bool:
    """Whether it may be repeated."""
    return parameter.multiple if isinstance(parameter, click.Option) else parameter.nargs == -1


def flags_of(command: click.Command) -> dict[str, click.Parameter]:
    """The parameters of a verb by each key that a file may have for them: long flags, and the names of arguments."""
    return {
        flag.removeprefix("--"): parameter
        for parameter in command.params
        for flag in (parameter.opts if isinstance(parameter, click.Option) else (parameter.name or "",))
        if flag.startswith("--") or isinstance(parameter, click.Argument)
    }
