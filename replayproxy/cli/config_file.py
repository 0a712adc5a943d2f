"""The file of `--config`: YAML, one section per verb, whose keys are the long flags.

Unknown verbs and keys are errors with a suggestion. A file of its own, because only `--config` needs a YAML parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from replayproxy.cli.options import suggestion


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
    document = read_yaml(path)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise click.UsageError(f"--config {path} must have one section per verb, such as `record:`")
    return {str(verb): _section(group, path, str(verb), section) for verb, section in document.items()}


def _section(group: click.Group, path: Path, verb: str, section: Any) -> dict[str, Any]:
    context = click.Context(group)
    command = group.get_command(context, verb)
    if command is None:
        names = group.list_commands(context)
        raise click.UsageError(f"--config {path}: there is no verb {verb!r}{suggestion(verb, names)}")
    if not isinstance(section, dict):
        raise click.UsageError(f"--config {path}: section {verb} must have keys, such as `port: 8080`")
    flags = {
        flag.removeprefix("--"): parameter
        for parameter in command.params
        for flag in (parameter.opts if isinstance(parameter, click.Option) else (parameter.name or "",))
        if flag.startswith("--") or isinstance(parameter, click.Argument)
    }
    defaults: dict[str, Any] = {}
    for key, value in section.items():
        parameter = flags.get(str(key))
        if parameter is None:
            raise click.UsageError(f"--config {path}: {verb} has no option {key!r}{suggestion(str(key), flags)}")
        several = parameter.multiple if isinstance(parameter, click.Option) else parameter.nargs == -1
        if isinstance(value, list | dict) and not (several and isinstance(value, list)):
            raise click.UsageError(f"--config {path}: {verb}: {key} takes one value")
        defaults[parameter.name or ""] = [value] if several and not isinstance(value, list) else value
    return defaults
