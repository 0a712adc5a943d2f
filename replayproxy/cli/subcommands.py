"""A verb that has verbs of its own: `ctl status`, `config check`. Knows click; nothing of what they do."""

from __future__ import annotations

from collections.abc import Iterator

import click

from replayproxy.cli.options import suggestion


class Subcommands(click.Group):
    """Lists its commands in the order in which they were added, and suggests the nearest for an unknown one.

    Options may also stand before the command, `ctl --admin URL status`, as a shell alias has them.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  as click calls it
        """In the order in which they were added."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The command first, then what stood before it."""
        if not {"-h", "--help"} & set(args[:1]):
            at = next(iter(self._places(args)), None)
            if at:
                args = [args[at], *args[:at], *args[at + 1 :]]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the first word. Raises `click.UsageError` with the nearest name."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = suggestion(args[0], self.commands) or f": choose from {', '.join(self.commands)}"
            raise click.UsageError(f"{self.name} has no {args[0]!r}{near}", ctx)
        return super().resolve_command(ctx, args)

    def _places(self, args: list[str]) -> Iterator[int]:
        """Where a word may be the command: it is no option, and no option's value."""
        options = {
            flag: parameter
            for command in self.commands.values()
            for parameter in command.params
            if isinstance(parameter, click.Option)
            for flag in (*parameter.opts, *parameter.secondary_opts)
        }
        at = 0
        while at < len(args):
            found = options.get(args[at])
            if found is not None and not (found.is_flag or found.count):
                at += 1 + found.nargs
            else:
                if not args[at].startswith("-"):
                    yield at
                at += 1
