"""Segments of one recording: their names, what a manifest says of a sealed one, and which may be deleted.

    traffic.cassette                            the first, or the only one
    traffic-pod-7-20261127T234100.123Z.cassette later ones: replica and time (UTC) at which they began
    traffic-….cassette.json                     the manifest of a sealed one

Works on closed files and names. Does not know when to rotate (`segment_rotation` does).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from replayproxy import __version__
from replayproxy.cassette import database
from replayproxy.cassette.queries import typed
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher

MANIFEST = ".json"
"""Behind the whole name of a segment: `traffic.json` may be somebody's own file."""

_TIME = re.compile(r"\d{8}T\d{6}\.\d{3}Z")

_CONTENTS = (
    "SELECT count(*), coalesce(min(recorded_at), 0), coalesce(max(recorded_at), 0),"
    " coalesce(sum(request_size), 0), coalesce(sum(response_size), 0) FROM exchange WHERE state = 1"
)


@dataclass(frozen=True, slots=True)
class SegmentNames:
    """The names of the segments of one recording by one replica."""

    base: Path
    replica: str = ""

    @property
    def _prefix(self) -> str:
        return f"{self.base.stem}-{self.replica}-" if self.replica else f"{self.base.stem}-"

    def at(self, nanoseconds: int) -> Path:
        """The segment that begins at this time, in ns since the Unix epoch."""
        begun = datetime.fromtimestamp(nanoseconds / 1e9, UTC)
        return self.base.with_name(f"{self._prefix}{begun:%Y%m%dT%H%M%S.%f}"[:-3] + f"Z{self.base.suffix}")

    def existing(self) -> list[Path]:
        """All segments that are there, the oldest first. Those of other replicas are not ours."""
        found = [path for path in self.base.parent.glob(f"*{self.base.suffix}") if self._is_later(path)]
        return [*([self.base] if self.base.exists() else []), *sorted(found, key=lambda path: path.name)]

    def _is_later(self, path: Path) -> bool:
        return path.name.startswith(self._prefix) and bool(_TIME.fullmatch(path.stem.removeprefix(self._prefix)))


def manifest_of(path: Path) -> Path:
    """Where the manifest of a segment is."""
    return path.with_name(path.name + MANIFEST)


def describe(path: Path, names: SegmentNames) -> dict[str, Any]:
    """What the manifest of a sealed segment says. Raises `CassetteError`, `OSError`.

    Times are in ns since the Unix epoch. Whoever collects segments needs nothing but these files.
    """
    with closing(database.read(path)) as connection, database.translated(str(path)):
        exchanges, first, last, sent, received = typed(connection.execute(_CONTENTS).fetchone(), *[int] * 5)
        dropped: dict[str, int] = {}
        for row in connection.execute("SELECT reason, exchanges FROM dropped"):
            reason, count = typed(row, str, int)
            dropped[reason] = dropped.get(reason, 0) + count
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "cassette": path.name,
        "sha256": digest,
        "bytes": path.stat().st_size,
        "exchanges": exchanges,
        "first_recorded_at": first,
        "last_recorded_at": last,
        "request_bytes": sent,
        "response_bytes": received,
        "dropped": dropped,
        "recording": names.base.stem,
        "replica": names.replica,
        "version": __version__,
    }


def seal_left(path: Path, matcher: Matcher) -> None:
    """Seal a segment that a recorder that was killed has left. Raises `CassetteError`, `Locked`, `OSError`."""
    with database.translated(str(path)):
        CassetteWriter(path, matcher).seal()


def sealed(paths: Sequence[Path]) -> list[Path]:
    """Those of them that have a manifest."""
    return [path for path in paths if manifest_of(path).exists()]


def sizes(paths: Collection[Path]) -> int:
    """Bytes of segments with their logs; a file that is gone has none."""
    total = 0
    for path in paths:
        for tail in ("", "-wal"):
            with suppress(OSError):
                total += path.with_name(path.name + tail).stat().st_size
    return total


def delete(path: Path) -> None:
    """Delete a sealed segment, its manifest last: what is half deleted is found again at the next start."""
    path.unlink(missing_ok=True)
    manifest_of(path).unlink(missing_ok=True)
