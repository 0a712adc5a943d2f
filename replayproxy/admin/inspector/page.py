"""What a page function gets and gives: a `Visitor` in, a `Page` out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from replayproxy.admin.inspector.library import CassetteLibrary, NoSuchCassette
from replayproxy.admin.inspector.query import Query
from replayproxy.proxy.result import RunResult


@dataclass(frozen=True, slots=True)
class InspectedRun:
    """The run whose misses and unused recordings are shown. `misses` costs little, `result` lists all recordings."""

    misses: Callable[[], Awaitable[RunResult]]
    result: Callable[[], Awaitable[RunResult]]
    is_live: bool
    """Whether it goes on; else it was read from a report."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """One request to a page. `place` has the variable parts of its path."""

    library: CassetteLibrary
    run: InspectedRun | None
    query: Query
    link: Callable[..., str]
    """The path of a page by its name: `link("exchange", cassette=…, id=…)`."""
    place: Mapping[str, str] = field(default_factory=dict)

    def cassette(self) -> str:
        """The name of the cassette that the URL names, or of the first one. Raises `NoSuchCassette`."""
        names = self.library.names()
        name = self.place.get("cassette") or self.query.get("cassette") or next(iter(names), "")
        if not names:
            raise NoSuchCassette("there is no cassette here yet: record something, or give one to `replayproxy web`")
        if name not in names:
            raise NoSuchCassette(f"there is no cassette {name!r} here: the overview has those that there are")
        return name


@dataclass(frozen=True, slots=True)
class Page:
    """A page: `data` is what its `.json` twin has; `view` what only the template needs, such as drawings."""

    template: str
    data: Mapping[str, Any]
    view: Mapping[str, Any] = field(default_factory=dict)


PageFunction = Callable[[Visitor], Awaitable[Page]]
