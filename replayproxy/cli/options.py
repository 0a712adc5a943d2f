"""Options of click: a value comes from the flag, the environment, the file of `--config` or the default, in this order.

An unknown `REPLAYPROXY_*` variable is an error with a suggestion, because a misspelt option must not be ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

PREFIX = "REPLAYPROXY_"


class Option(click.Option):
    """An option of which the last value counts, as in most programs: a wrapper script has defaults, its user adds some.

    One that names a server, a file or an SQL condition is refused with two different ones. `--upstream A --upstream B`
    would silently leave A out, where its siblings `--prefill` and `--decode` take both; `prune --where A --where B`
    would delete what only one of them was to choose.
    """

    def __init__(self, *arguments: Any, group: str = "", **attributes: Any) -> None:
        """`group` is that of the table of settings; it says in which section of `--help` the option stands."""
        super().__init__(*arguments, **attributes)
        self.group = group

    @property
    def is_single(self) -> bool:
        """Whether it holds one value, and is no switch."""
        return not (self.multiple or self.is_flag or self.count)

    @property
    def is_chosen_once(self) -> bool:
        """Whether two different values are a mistake."""
        return self.is_single and (isinstance(self.type, click.Path) or self.metavar in ("URL", "SQL"))

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """All the values that are given, so that they can be compared."""
        if self.is_single:
            parser.add_option(obj=self, opts=self.opts, dest=self.name, action="append", nargs=self.nargs)
        else:
            super().add_to_parser(parser, ctx)

    def handle_parse_result(self, ctx: click.Context, opts: Any, args: list[str]) -> Any:
        """The one value. Raises `click.UsageError` where two different ones are a mistake."""
        given = opts.get(self.name or "")
        if self.is_single and isinstance(given, list):
            if self.is_chosen_once and any(value != given[0] for value in given):
                values = ", ".join(dict.fromkeys(map(str, given)))
                raise click.UsageError(f"{self.opts[0]} takes one value and is given several ({values}): choose", ctx)
            opts = {**opts, self.name or "": given[-1]}
        return super().handle_parse_result(ctx, opts, args)

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the value of the environment, unless Kubernetes has set it."""
        value = super().resolve_envvar_value(ctx)
        if value is not None and isinstance(self.envvar, str) and is_service_link(self.envvar, value):
            return None
        return value


def plain_option(*declarations: str, **attributes: Any) -> Callable[[F], F]:
    """`click.option` that is an `Option`, for the command line alone."""
    return click.option(*declarations, cls=Option, **attributes)


def option(*declarations: str, **attributes: Any) -> Callable[[F], F]:
    """The same that may also come from `REPLAYPROXY_<OPTION>`."""
    name = next(part for part in declarations if part.startswith("--")).partition("/")[0]
    variable = PREFIX + name.removeprefix("--").replace("-", "_").upper()
    attributes.setdefault("show_default", True)
    return plain_option(*declarations, envvar=variable, show_envvar=False, **attributes)


def suggestion(word: str, words: Iterable[str]) -> str:
    """` (did you mean …?)`, or nothing."""
    from difflib import get_close_matches  # for mistakes only

    close = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def leaves(command: click.Command) -> Iterator[click.Command]:
    """The commands that are called: those of a group, or the command itself."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from leaves(one)
    else:
        yield command


def is_unset(value: object) -> bool:
    """Whether this is click's mark for a parameter without a default: None before click 8.3, a sentinel since."""
    return value is None or type(value).__name__ == "Sentinel"


def flag_key(parameter: click.Parameter) -> str | None:
    """The key of a parameter in a configuration file: its long flag, or its name if it is an argument."""
    if isinstance(parameter, click.Option):
        return next((flag.removeprefix("--") for flag in parameter.opts if flag.startswith("--")), None)
    return parameter.name


# Environment


def readable_variables(group: click.Group, names: Iterable[str] | None = None) -> set[str]:
    """Return the variables that options of these verbs read; of all verbs if none is named."""
    context = click.Context(group)
    commands = (group.get_command(context, name) for name in names or group.list_commands(context))
    parameters = (
        parameter
        for command in commands
        if command is not None
        for leaf in leaves(command)
        for parameter in leaf.params
    )
    return {PREFIX + "CONFIG"} | {name.envvar for name in parameters if isinstance(name.envvar, str)}


_LINK = re.compile(
    r"REPLAYPROXY(?:_[A-Z0-9_]+?)??_"
    r"(?:(?P<named>SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)|PORT)"
)


def is_service_link(variable: str, value: str) -> bool:
    """Whether Kubernetes has set this for a Service called `replayproxy` or `replayproxy-…`.

    It puts seven variables for each Service of a namespace into each of its pods, as Docker's links did
    (kubernetes.io/docs/concepts/services-networking/service, "Environment variables"). Six of the names
    are never those of an option. The seventh is, and then the value decides: `REPLAYPROXY_PORT=9000` is the option,
    `REPLAYPROXY_PORT=tcp://10.0.0.5:8080` is a link.
    """
    found = _LINK.fullmatch(variable)
    return found is not None and (found["named"] is not None or re.match("(tcp|udp|sctp)://", value) is not None)


def refuse_unknown_variables(group: click.Group, invoked: str | None = None) -> None:
    """Refuse a variable `REPLAYPROXY_*` that no option reads, unless Kubernetes has set it. Raises `click.UsageError`.

    `invoked` is the verb that runs: the others are loaded only where it does not read all that is set.
    """
    ours = sorted(
        name for name, value in os.environ.items() if name.startswith(PREFIX) and not is_service_link(name, value)
    )
    if not ours or (invoked is not None and readable_variables(group, [invoked]).issuperset(ours)):
        return
    readable = readable_variables(group)
    for variable in ours:
        if variable not in readable:
            raise click.UsageError(
                f"environment variable {variable} is not known{suggestion(variable, readable)}: unset it"
            )
