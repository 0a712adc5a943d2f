"""Progress of what takes longer than a second: a bar on a terminal, a line every ten seconds for a log.

    with progress() as watch:        watch("exchanges read", 65536, 1000000)

Nothing is printed for what is over within the first second, and nothing of a bar stays on the screen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from replayproxy.cli.terminal import messages
from replayproxy.views.units import count

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Watch = Callable[[str, int, int], None]
"""Is called with what is done, how much of it, of how much."""

FIRST_NS = 1_000_000_000
"""Before that nothing is shown."""

EVERY_NS = 10_000_000_000
"""Between two lines of a log."""


class _Shown:
    """What is shown of one command. `now` gives ns on a clock that never goes back."""

    def __init__(self, now: Callable[[], int], *, is_terminal: bool) -> None:
        self._now = now
        self._is_terminal = is_terminal
        self._due = now() + (FIRST_NS if is_terminal else EVERY_NS)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""

    def __call__(self, what: str, done: int, of: int) -> None:
        if self._bar is not None:
            self._update(self._bar, what, done, of)
        elif self._now() >= self._due:
            if self._is_terminal:
                self._bar = _bar()
                self._bar.start()
                self._update(self._bar, what, done, of)
            else:
                self._due = self._now() + EVERY_NS
                messages.info(f"{what}: {count(done)} of {count(of)}", done=done, of=of)

    def _update(self, bar: Progress, what: str, done: int, of: int) -> None:
        if self._task is None or what != self._what:
            if self._task is not None:
                bar.remove_task(self._task)
            self._task, self._what = bar.add_task(what, total=of), what
        bar.update(self._task, completed=min(done, of), total=of)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Progress:
    """One that vanishes at its end. Imported here: what is over soon needs no rich."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def progress(now: Callable[[], int] | None = None, *, is_terminal: bool | None = None) -> Iterator[Watch]:
    """Show the progress of what runs within the block."""
    if now is None:
        from replayproxy.net.clock import SystemClock

        now = SystemClock.now
    shown = _Shown(now, is_terminal=sys.stderr.isatty() if is_terminal is None else is_terminal)
    try:
        yield shown
    finally:
        shown.close()
