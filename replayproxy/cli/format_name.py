"""The type of `--to` and `--from`: the name of a format."""

from __future__ import annotations

from typing import Any

import click

from replayproxy.cli.options import suggestion
from replayproxy.formats.table import names_read, names_written


class FormatName(click.ParamType[str]):
    """The name of a format that can be written, or one that can be read."""

    name = "format"

    def __init__(self, *, written: bool) -> None:
        self.written = written

    @property
    def names(self) -> list[str]:
        """The names that are taken, in the order of the table."""
        return names_written() if self.written else names_read()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raise `click.UsageError` for an unknown name."""
        names = self.names
        if value not in names:
            self.fail(f"there is no format {value!r}{suggestion(str(value), names)}: {', '.join(names)}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        """The names that begin so."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in self.names if name.startswith(incomplete)]
