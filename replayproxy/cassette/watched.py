"""Tells how far work on many exchanges has come.

    for number in watched(numbers, "exchanges verified", 1000, watch):        watch("exchanges verified", 256, 1000)

Whoever starts the work gives a `Watch`; the command line draws a bar of it (`cli/terminal/progress`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Watch = Callable[[str, int, int], None]
"""Is called with what is done, how much of it, of how much."""

EVERY = 64
"""Items between two calls: a few milliseconds of work."""


def unwatched(_what: str, _done: int, _of: int) -> None:
    """Tell nobody."""


def watched(items: Iterable[T], what: str, of: int, watch: Watch) -> Iterator[T]:
    """Give each item, and tell `watch` how many came before it."""
    for done, item in enumerate(items):
        if done % EVERY == 0:
            watch(what, done, of)
        yield item
