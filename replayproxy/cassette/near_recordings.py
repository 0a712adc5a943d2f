"""Find the recordings that are most like a request that has none: by their sketches, without reading their bodies."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from dataclasses import dataclass

from replayproxy.cassette.queries import Queries, typed
from replayproxy.cassette.readers import Readers
from replayproxy.errors import Damaged

MAX_SKETCHES = 64 * 1024 * 1024
"""Bytes of sketches that are kept for the next miss: those of three million recordings."""


@dataclass(slots=True)
class _Endpoint:
    """The sketches of the recordings of one endpoint, 12 bytes each, and their numbers."""

    numbers: array[int]
    sketches: bytes
    versions: dict[int, int]
    """By reader, the version of the file of which it knows that this holds."""


class SketchIndex:
    """The sketches of one cassette, by endpoint. Threads may search at the same time, and wait for one another."""

    def __init__(self, queries: Queries, readers: Readers, *, sealed: bool) -> None:
        """`sealed`: nobody records on the cassette, so what was read once holds."""
        self._queries = queries
        self._readers = readers
        self._sealed = sealed
        self._searching = threading.Lock()
        self._endpoints: OrderedDict[tuple[str, str], _Endpoint] = OrderedDict()
        self.size = 0
        """Bytes that are kept."""

    def nearest(self, method: str, path: str, sketch: bytes, limit: int) -> list[int]:
        """Return the numbers of the recordings of this endpoint whose sketch has most in common with this one."""
        # Imported here: `ls` and its like read rows without it (tests/cli/test_imports.py).
        from replayproxy.core.identity.sketch import alike

        with self._searching:
            numbers, sketches = self._sketches(method, path)
            return [numbers[position] for position in alike(sketches, sketch, limit)]

    def count(self, method: str, path: str) -> tuple[int, int]:
        """Return how many different requests have a recording, and how many of these are at this endpoint."""
        with self._searching:
            (every,) = typed(self._queries.one("SELECT count(*) FROM exchange WHERE occurrence = 0"), int)
            return every, len(self._sketches(method, path)[0])

    def _sketches(self, method: str, path: str) -> tuple[array[int], bytes]:
        """Return numbers and sketches: read once, and again when something was recorded. 30 ms for 100 000."""
        cached = self._endpoints.get((method, path))
        # SQLite's number of a version means something to one connection only.
        mine, (latest,) = self._readers.mine(), typed(self._queries.one("PRAGMA data_version"), int)
        if cached is not None and (self._sealed or cached.versions.get(id(mine)) == latest):
            self._endpoints.move_to_end((method, path))
            return cached.numbers, cached.sketches
        # As two texts: 100 000 rows of Python's would take three times as long.
        row = self._queries.one(
            "SELECT coalesce(group_concat(id), ''), coalesce(group_concat(hex(sketch), ''), '') FROM exchange"
            " WHERE sketch IS NOT NULL AND endpoint IN (SELECT id FROM endpoint WHERE method = ? AND path = ?)",
            *(method, path),
        )
        texts = typed(row, str, str)
        from replayproxy.core.identity.sketch import SIZE

        if len(texts[1]) != 2 * SIZE * (texts[0].count(",") + bool(texts[0])):
            raise Damaged(f"{self._queries.name} holds a sketch of another size: restore it from a copy")
        numbers, sketches = array("q", map(int, filter(None, texts[0].split(",")))), bytes.fromhex(texts[1])
        if cached is not None and (cached.numbers, cached.sketches) == (numbers, sketches):
            cached.versions[id(mine)] = latest
        elif numbers:  # a client may invent paths: those without recordings are not kept
            self._forget((method, path))
            self._endpoints[method, path] = _Endpoint(numbers, sketches, {id(mine): latest})
            self.size += 20 * len(numbers)
            while self.size > MAX_SKETCHES and len(self._endpoints) > 1:
                self._forget(next(iter(self._endpoints)))
        return numbers, sketches

    def _forget(self, endpoint: tuple[str, str]) -> None:
        cached = self._endpoints.pop(endpoint, None)
        if cached is not None:
            self.size -= 20 * len(cached.numbers)
