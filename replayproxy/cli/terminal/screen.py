"""Where people read: a terminal with a width and colours, or a pipe or file with neither.

What is printed is lines of spans; a span is text with a style that only a terminal shows. rich finds out what the
terminal can do (`NO_COLOR`, `TERM=dumb`, `COLUMNS`); into a pipe it is not even imported. Every span is made visible
here, on its way out, so that no caller can forget to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TextIO

from replayproxy.core.visible import visible, visible_lines

if TYPE_CHECKING:
    from rich.console import Console


class Span(NamedTuple):
    """A piece of a line, and how a terminal shows it (rich's words: `bold red`)."""

    text: str
    style: str = ""


Line = list[Span]

INDENT = 11
"""Where an entry begins, right of its head."""


@dataclass(slots=True)
class Screen:
    """Prints lines. `width` is None where lines may be as long as they are."""

    stream: TextIO
    width: int | None = None
    _console: Console | None = field(default=None, repr=False)

    @classmethod
    def on(cls, stream: TextIO) -> Screen:
        """What this stream is."""
        if not stream.encoding.lower().replace("-", "").startswith("utf"):
            reconfigure = getattr(stream, "reconfigure", None)  # a terminal in latin-1 has no thin space
            if reconfigure is not None:
                reconfigure(errors="replace")
        if not stream.isatty():
            return cls(stream)
        from rich.console import Console

        console = Console(file=stream, force_terminal=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        # rich keeps bold and underline under NO_COLOR; we keep nothing.
        if os.environ.get("NO_COLOR"):
            console = Console(file=stream, force_terminal=True, color_system=None, soft_wrap=True)
        return cls(stream, console.width, console)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches."""
        return self._console is not None

    def line(self, *spans: Span | str) -> None:
        """Print one line, whatever its length."""
        visible = list(_visible(spans))
        if self._console is None:
            self.stream.write("".join(span.text for span in visible).rstrip() + "\n")
            return
        from rich.text import Text

        self._console.print(Text.assemble(*visible), soft_wrap=True)

    def entry(self, head: str, *spans: Span | str, style: str = "dim") -> None:
        """Print what belongs to a head; on a terminal it is broken between words and stays right of the head."""
        self._wrapped(Span(f"{visible(head)} ".ljust(INDENT), style), spans)

    def under(self, *spans: Span | str) -> None:
        """Print what belongs to the line above, a little to the right; on a terminal broken between words."""
        self._wrapped(Span("  "), spans)

    def prose(self, *spans: Span | str) -> None:
        """Print a sentence; on a terminal it is broken between words."""
        self._wrapped(Span(""), spans)

    def _wrapped(self, head: Span, spans: tuple[Span | str, ...]) -> None:
        if self._console is None or self.width is None:
            self.line(head, *spans)
            return
        from rich.text import Text

        indent = len(head.text)
        before = Text.assemble(head)
        for row in Text.assemble(*_visible(spans)).wrap(self._console, max(20, self.width - indent)):
            self._console.print(before + row, soft_wrap=True)
            before = Text(" " * indent)

    def text(self, text: str) -> None:
        """Print text with its own line feeds, and nothing else of its own."""
        visible = visible_lines(text)
        self.stream.write(visible if visible.endswith("\n") else visible + "\n")

    def lines(self, lines: Iterable[Line]) -> None:
        """Print several."""
        for line in lines:
            self.line(*line)


def _visible(spans: tuple[Span | str, ...]) -> Iterator[Span]:
    for span in spans:
        yield Span(visible(span)) if isinstance(span, str) else Span(visible(span.text), span.style)


def on_stdout() -> Screen:
    """The usual one."""
    return Screen.on(sys.stdout)


def on_stderr() -> Screen:
    """For messages about the data."""
    return Screen.on(sys.stderr)
