"""Several cassettes as one shelf: equal requests walk through the first one's recordings, then the next one's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.server_state import RecordedFacts
from replayproxy.errors import Damaged
from replayproxy.model import Key, RecordingRef, Response
from replayproxy.ports import Neighbour

T = TypeVar("T")

LOOKING = 2
"""Threads that search and list: a report of a large cassette does not hold up why a request has no recording."""


class CassetteStore:
    """A `Shelf` over cassettes, in their order.

    `in_turn`: between two readings the loop does whatever else it has to do. To unpack an answer takes 0.3 ms; of 16
    requests that come together, those that the loop has not heard yet would count their times from after all of that.
    """

    def __init__(self, cassettes: Sequence[CassetteReader] = (), *, in_turn: bool = False) -> None:
        self._cassettes = list(cassettes)
        self._left: list[CassetteReader] = []
        """Those whose file is gone: who reads in one of them reads on."""
        self._turn = asyncio.Lock() if in_turn else None
        self._unpacking = ThreadPoolExecutor(1, "replayproxy-unpacking")
        self._looking = ThreadPoolExecutor(LOOKING, "replayproxy-looking")

    def open(self, paths: Sequence[Path], *, allow_incomplete: bool = False) -> Self:
        """Open cassettes, with a connection each for every thread of ours: they read on when a file is replaced.

        Raises as `CassetteReader` does; then none of them stays open.
        """
        cassettes: list[CassetteReader] = []
        try:
            for path in paths:
                cassette = CassetteReader(path, allow_incomplete=allow_incomplete, spares=1 + LOOKING)
                cassettes.append(cassette)  # one by one: those that are open are closed where one cannot be
        except BaseException:
            for cassette in cassettes:
                cassette.close()
            raise
        self._cassettes += cassettes
        return self

    @property
    def cassettes(self) -> Sequence[CassetteReader]:
        """Those it is made of, in their order."""
        return self._cassettes

    def close(self) -> None:
        """Let go of all files; what reads in a thread is interrupted."""
        for executor in (self._unpacking, self._looking):
            executor.shutdown(wait=False, cancel_futures=True)
        for cassette in (*self._cassettes, *self._left):
            cassette.close()

    def reopen(self, old: Path, new: Path) -> None:
        """Go on reading at `new` what was at `old`, if that is one of these. Raises as `CassetteReader` does."""
        for number, cassette in enumerate(self._cassettes):
            if cassette.path == old:
                self._cassettes[number] = cassette.reopened(new)
                self._left.append(cassette)

    def state_bytes(self) -> dict[str, int]:
        """About how much memory is kept for coming requests, by kind."""
        total: Counter[str] = Counter()
        for cassette in self._cassettes:
            total.update(cassette.state_bytes())
        return dict(total)

    async def aside(self, function: Callable[..., T], *arguments: object) -> T:
        """Do what reads much, or for long, in a thread with connections of its own, so that no stream waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self._looking, function, *arguments)

    def count(self, key: Key) -> int:
        """How many playable answers there are on all of them."""
        count = 0
        for cassette in self._cassettes:
            count += cassette.count(key)
        return count

    def count_broken(self, key: Key) -> int:
        """How many answers had broken."""
        return sum(cassette.count_broken(key) for cassette in self._cassettes)

    def count_cut(self, method: str, path: str) -> int:
        """How many recordings of this endpoint have a request that was not read to its end."""
        return sum(cassette.count_cut(method, path) for cassette in self._cassettes)

    def with_transfer(self, key: Key, transfer: str) -> int | None:
        """The occurrence that was recorded with this hand-over."""
        before = 0
        for cassette in self._cassettes:
            found = cassette.with_transfer(key, transfer)
            if found is not None:
                return before + found
            before += cassette.count(key)
        return None

    def near(self, method: str, path: str, sketch: bytes, limit: int) -> list[Neighbour]:
        """So many from each of them."""
        return [found for cassette in self._cassettes for found in cassette.near(method, path, sketch, limit)]

    def count_of_endpoint(self, method: str, path: str) -> tuple[int, int]:
        """How many different requests have an answer, and how many of these at this endpoint."""
        counts = [cassette.count_of_endpoint(method, path) for cassette in self._cassettes]
        return sum(every for every, _ in counts), sum(here for _, here in counts)

    def some(self, limit: int) -> list[RecordingRef]:
        """At most so many recordings that can be played, those of preflights first."""
        return [
            RecordingRef(key, occurrence + sum(before.count(key) for before in self._cassettes[:number]))
            for number, cassette in enumerate(self._cassettes)
            for key, occurrence in cassette.some(limit)
        ][:limit]

    def about_servers(self) -> tuple[list[Mapping[str, Any]], list[str]]:
        """The meta entries of each cassette, and the names of the models that occur on them."""
        parts = [cassette.about_servers() for cassette in self._cassettes]
        return [meta for metas, _ in parts for meta in metas], sorted({name for _, names in parts for name in names})

    def playable(self, *, new: bool = False) -> Iterator[tuple[str, RecordingRef, str, str, str]]:
        """Everything that can be replayed: its cassette, its place on this shelf, short id, method and path.

        `new`: only what has come since the cassettes were opened; then there is only one, for recording goes onto one.
        """
        before: Counter[Key] = Counter()
        for cassette in self._cassettes:
            here: Counter[Key] = Counter()
            for place, short_id, method, path in cassette.playable(new=new):
                here[place.key] += 1
                yield (
                    str(cassette.path),
                    RecordingRef(place.key, before[place.key] + place.occurrence),
                    short_id,
                    method,
                    path,
                )
            before += here

    def short_id(self, place: RecordingRef) -> str:
        """Return the id of a recording, as people give it to `show`. Raises `Damaged` if it is not there."""
        cassette, here = self._holding(place)
        return cassette.short_id(here)

    def facts(self, place: RecordingRef) -> RecordedFacts:
        """What the row of a recording says of its answer. Raises `CassetteError`."""
        cassette, here = self._holding(place)
        return cassette.facts(here)

    async def read(self, place: RecordingRef) -> Response:
        """The answer at this place of the whole row."""
        if self._turn is None:
            return await self._read(place)
        async with self._turn:
            await asyncio.sleep(0)
        return await self._read(place)  # whose turn is next waits for the loop, not for a thread that unpacks

    async def _read(self, place: RecordingRef) -> Response:
        cassette, here = self._holding(place)
        return await cassette.read(here, self._unpacking)

    def _holding(self, place: RecordingRef) -> tuple[CassetteReader, RecordingRef]:
        """Return the cassette of a recording, and its place there. Raises `Damaged` if there is none."""
        if len(self._cassettes) == 1:
            return self._cassettes[0], place
        occurrence = place.occurrence
        for cassette in self._cassettes:
            here = cassette.count(place.key)
            if occurrence < here:
                return cassette, RecordingRef(place.key, occurrence)
            occurrence -= here
        raise Damaged(f"there is no recording {place.occurrence} of {place.key} any more")
