"""The example of a configuration file: every key of a verb, its meaning, its default, as its options have them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import click
import yaml

from replayproxy.cli.option_sections import REST, sections
from replayproxy.cli.options import Option, flag_key, is_unset, leaves, suggestion
from replayproxy.core.visible import visible

SERVING = ("record", "replay", "auto", "simulate", "exec", "ctl")

WIDTH = 100

HEAD = """\
# Configuration of replayproxy: one section per verb; the keys are the long options.
#
#     replayproxy --config FILE VERB …      or REPLAYPROXY_CONFIG=FILE
#     replayproxy config check FILE
#
# A value comes from the command line, else from the environment (REPLAYPROXY_UPSTREAM_TIMEOUT for upstream-timeout),
# else from this file, else it is the default. Every key below is a comment that shows the default, or a value of the
# right form where there is none: remove the # to set it. Durations: 200ms, 25s, 10m. Sizes: 256MiB, 10MB.
"""


def example_of(group: click.Group, verbs: Sequence[str]) -> str:
    """The text. Raises `click.UsageError` for a verb that is not there."""
    context = click.Context(group)
    parts = [HEAD]
    for name in verbs:
        command = group.get_command(context, name)
        if command is None:
            names = group.list_commands(context)
            raise click.UsageError(f"there is no verb {name!r}{suggestion(name, names)}")
        parts.append("\n".join(_section(name, command)) + "\n")
    return "\n".join(parts)


def keys_of(command: click.Command) -> dict[str, click.Parameter]:
    """What a section may set, by its key: options by their long flag, arguments by their name.

    A group has the options of its commands. An option that only asks for help or a version is none.
    """
    found: dict[str, click.Parameter] = {}
    for one in leaves(command):
        for parameter in one.params:
            if key := flag_key(parameter):
                found.setdefault(key, parameter)
    return found


def _section(name: str, command: click.Command) -> Iterator[str]:
    yield f"{name}:"
    options = {parameter: key for key, parameter in keys_of(command).items() if isinstance(parameter, Option)}
    for title, parameters in sections(list(options)).items():
        if title != REST or len(parameters) < len(options):
            yield f"\n  # --- {title}"
        for parameter in parameters:
            assert isinstance(parameter, Option)
            yield ""
            for line in textwrap.wrap(visible(parameter.help or ""), WIDTH - 4):
                yield f"  # {line}"
            yield f"  # {options[parameter]}: {_shown(parameter)}"


def _shown(option: Option) -> str:
    """The default as YAML has it, or a value of the right form."""
    value: Any = option.default
    if is_unset(value) or value == ():
        value = _sample(option)
    if option.multiple:
        value = list(value) if isinstance(value, list | tuple) else [value]
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).splitlines()[0]


def _sample(option: Option) -> Any:
    if option.name in SAMPLES:
        return SAMPLES[option.name]
    kind = option.type
    if option.is_flag:
        return False
    if isinstance(kind, click.Choice):
        return kind.choices[0]
    if isinstance(kind, click.IntRange):
        return kind.min if kind.min is not None else 1
    if isinstance(kind, click.types.FloatParamType):
        return 1.0
    if isinstance(kind, click.types.IntParamType):
        return 1
    return SAMPLES.get(option.metavar or "") or KINDS.get(kind.name, "text")


SAMPLES: dict[str, Any] = {
    "URL": "http://127.0.0.1:8000",
    "set_upstream_header": "Authorization=@GATEWAY_KEY",
    "HOST:PORT": "127.0.0.1:5557",
    "GLOB": "/v1/*",
    "NAME": "x-session-id",
    "RULE": "header:x-session-id",
    "JSONPATH": "$.metadata",
    "NAME|NAME=REGEX": "uuid",
    "FORM": "one-event",
    "ORIGIN|*": "http://localhost:3000",
    "CASSETTE": "chat.cassette",
    "ENDPOINT": "tcp://127.0.0.1:5557",
    "FAULT": "status=429,retry-after=2@0.1",
    "JSON": "{}",
    "KEY": "sk-local",
    "TYPE": "rate_limit",
    "rotate": "256MB",
    "keep": 10,
    "keep_on": "status>=500",
    "hash_seed": "12648430",
    "kv_events_topic": "kv@pod@model",
    "lora_modules": '{"name": "adapter", "path": "/adapters/a"}',
}
"""Values of options that have no default: by name, else by metavar."""

KINDS = {"duration": "10s", "size": "10MiB", "path": "FILE", "file": "FILE", "port": 0, "latency": "100ms"}
