"""Find and read recordings in several cassettes: equal requests get those of the first one, then of the next."""

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
    """A `RecordingStore` over cassettes, in their order.

    `in_turn`: between two answers that are read the event loop takes a turn. Unpacking an answer takes 0.3 ms; of 16
    requests that arrive together, those that the loop has not read yet would be timed from after all of that.
    """

    def __init__(self, cassettes: Sequence[CassetteReader] = (), *, in_turn: bool = False) -> None:
        self._cassettes = list(cassettes)
        self._left: list[CassetteReader] = []
        """Cassettes whose file was removed: readings that have begun continue."""
        self._turn = asyncio.Lock() if in_turn else None
        self._unpacking = ThreadPoolExecutor(1, "replayproxy-unpacking")
        self._looking = ThreadPoolExecutor(LOOKING, "replayproxy-looking")

    def open(self, paths: Sequence[Path], *, allow_incomplete: bool = False) -> Self:
        """Open cassettes, with one connection per thread, so that reading continues when a file is replaced.

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
        """The cassettes, in their order."""
        return self._cassettes

    def close(self) -> None:
        """Close all files. Readings in threads are interrupted."""
        for executor in (self._unpacking, self._looking):
            executor.shutdown(wait=False, cancel_futures=True)
        for cassette in (*self._cassettes, *self._left):
            cassette.close()

    def reopen(self, old: Path, new: Path) -> None:
        """Read the cassette at `old` from `new` from now on. Raises as `CassetteReader` does."""
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
        """Call a function that reads for long in a thread with its own connections, so that no stream waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self._looking, function, *arguments)

    def count(self, key: Key) -> int:
        """Return how many recordings there are with this key, on all cassettes."""
        count = 0
        for cassette in self._cassettes:
            count += cassette.count(key)
        return count

    def count_broken(self, key: Key) -> int:
        """Return how many answers with this key broke off."""
        return sum(cassette.count_broken(key) for cassette in self._cassettes)

    def count_cut(self, method: str, path: str) -> int:
        """Return how many exchanges of this endpoint have a request that was not read to its end."""
        return sum(cassette.count_cut(method, path) for cassette in self._cassettes)

    def with_transfer(self, key: Key, transfer: str) -> int | None:
        """Return the occurrence that was recorded with this hand-over, or None."""
        before = 0
        for cassette in self._cassettes:
            found = cassette.with_transfer(key, transfer)
            if found is not None:
                return before + found
            before += cassette.count(key)
        return None

    def near(self, method: str, path: str, sketch: bytes, limit: int) -> list[Neighbour]:
        """Return so many from each cassette."""
        return [found for cassette in self._cassettes for found in cassette.near(method, path, sketch, limit)]

    def count_of_endpoint(self, method: str, path: str) -> tuple[int, int]:
        """Return how many different requests have a recording, and how many of these are at this endpoint."""
        counts = [cassette.count_of_endpoint(method, path) for cassette in self._cassettes]
        return sum(every for every, _ in counts), sum(here for _, here in counts)

    def some(self, limit: int) -> list[RecordingRef]:
        """Return at most so many recordings, those of CORS preflights first."""
        return [
            RecordingRef(key, occurrence + sum(before.count(key) for before in self._cassettes[:number]))
            for number, cassette in enumerate(self._cassettes)
            for key, occurrence in cassette.some(limit)
        ][:limit]

    def about_servers(self) -> tuple[list[Mapping[str, Any]], list[str]]:
        """Return the meta entries of each cassette, and the names of all models."""
        parts = [cassette.about_servers() for cassette in self._cassettes]
        return [meta for metas, _ in parts for meta in metas], sorted({name for _, names in parts for name in names})

    def playable(self, *, new: bool = False) -> Iterator[tuple[str, RecordingRef, str, str, str]]:
        """Yield every recording: its cassette, its reference in this store, its short id, method and path.

        `new`: only those that were recorded since the cassettes were opened.
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
        """Return the answer of a recording. Raises `Damaged`."""
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
