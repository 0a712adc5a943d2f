"""Keep the last minutes of a recording on disk, and make a cassette of them when something happens.

    ring of segments  ───────────┬──────── incident ──────────┬─▶   merged in another process to
    (older ones are deleted)     └─ window ─┘└─ keep-after ───┘     traffic-incident-20261127T234828.041Z.cassette

Incidents that follow within the time after the first are in the same cassette. Nothing else is written for good. The
ring is bounded in time and in bytes. Does not know what an incident is: `Control` and the conditions say so.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import orjson

from replayproxy import output_files
from replayproxy.cassette import segments
from replayproxy.cassette.editing.merge import merge_segments
from replayproxy.cassette.segments import SegmentNames
from replayproxy.errors import ReplayProxyError
from replayproxy.ports import Clock, Worker
from replayproxy.segment_rotation import LOOK_NANOSECONDS, SegmentPolicy

log = logging.getLogger("replayproxy.recording")

PARTS = 10
"""The ring has about so many segments: the cassette of an incident begins at most a tenth before its window."""

SMALL = 1024 * 1024
"""Bytes of a ring that are merged in this process: it takes less than the start of another one."""

MOST_REASONS = 100
"""Incidents that a manifest names; the rest is counted."""


class MergeWorker(Worker, Protocol):
    """Another process."""

    def close(self) -> None:
        """End it."""
        ...


class Rotating(Protocol):
    """What begins a new segment of the ring."""

    async def rotate(self) -> tuple[str, str]:
        """Seal the current one. Returns the old and the new name. Raises `CassetteError`."""
        ...


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """Times in ns: of the window before an incident, and after it. `size`: most bytes of the ring."""

    window: int
    after: int
    size: int


@dataclass(slots=True)
class PendingIncident:
    """An incident whose time after it has not passed yet."""

    path: Path
    due: int
    """When its cassette is made, in ns of the clock."""
    reasons: list[tuple[int, str]]
    count: int = 0


def ring_of(base: Path, replica: str) -> SegmentNames:
    """The names of the ring of a recording, in a folder of its own."""
    return SegmentNames(base.with_name(f"{base.stem}.window") / base.name, replica)


def incidents_of(base: Path, replica: str) -> SegmentNames:
    """The names of the cassettes of its incidents."""
    return SegmentNames(base.with_name(f"{base.stem}-incident{base.suffix}"), replica)


def ring_policy(options: WindowOptions, min_free: int | None = None) -> SegmentPolicy:
    """When a segment of the ring ends."""
    return SegmentPolicy(age=max(options.window // PARTS, 10**9), size=max(1, options.size // PARTS), min_free=min_free)


class IncidentWindow:
    """The ring of one recording. `run` it as a task; call `finish` when the last segment is sealed."""

    def __init__(
        self,
        base: Path,
        replica: str,
        options: WindowOptions,
        policy: SegmentPolicy,
        *,
        clock: Clock,
        worker: MergeWorker,
    ) -> None:
        """`policy` says which cassettes of incidents stay. `worker` is closed by `finish`."""
        self._ring = ring_of(base, replica)
        self._incidents = incidents_of(base, replica)
        self._options = options
        self._policy = policy
        self._clock = clock
        self._worker = worker
        self._pending: PendingIncident | None = None
        self.kept: list[Path] = []
        """Cassettes of incidents that this run has made."""
        self.count = 0
        """Incidents of this run."""

    def keep(self, reason: str) -> Path:
        """Something has happened now. Returns the cassette that is going to hold what was before and what follows."""
        now = self._clock.today()
        if self._pending is None:
            due = self._clock.now() + self._options.after
            self._pending = PendingIncident(self._incidents.at(now), due, [])
            log.warning("incident (%s): %s will hold it", reason, self._pending.path)
        self.count += 1
        self._pending.count += 1
        if len(self._pending.reasons) < MOST_REASONS:
            self._pending.reasons.append((now, reason))
        return self._pending.path

    @property
    def seconds_left(self) -> float:
        """Until the cassette of the pending incident is made; 0 without one."""
        return 0.0 if self._pending is None else max(0, self._pending.due - self._clock.now()) / 1e9

    async def run(self, rotation: Rotating) -> None:
        """Delete what is older than the window, and make cassettes of incidents, until cancelled."""
        while True:
            try:
                if self._pending is not None and self._clock.now() >= self._pending.due:
                    await rotation.rotate()
                    await self._seal()
                await asyncio.to_thread(self._trim)
            except (ReplayProxyError, OSError) as error:
                log.warning("the window of %s cannot be kept in order now: %s", self._ring.base, error)
            await self._clock.sleep_until(self._clock.now() + LOOK_NANOSECONDS)

    async def finish(self) -> None:
        """The recording is over and sealed: make the cassette of a pending incident, and remove the ring."""
        try:
            await self._finish()
        finally:
            await asyncio.to_thread(self._worker.close)

    async def _finish(self) -> None:
        if self._pending is not None:
            try:
                await self._seal()
            except (ReplayProxyError, OSError) as error:
                log.error("the cassette of an incident could not be made: %s; %s stays", error, self._ring.base.parent)
                return
        for path in self._ring.existing():
            segments.delete(path)
        with suppress(OSError):  # somebody has put something else there
            self._ring.base.parent.rmdir()

    async def _seal(self) -> None:
        """Make a cassette of all sealed segments of the ring."""
        pending, self._pending = self._pending, None
        assert pending is not None
        parts = segments.sealed(self._ring.existing())
        if not parts:
            log.warning("nothing was recorded in the window of an incident: there is no %s", pending.path)
            return
        # Long work in a thread would hold the interpreter's lock, and chunks would be late.
        run = asyncio.to_thread if segments.sizes(parts) <= SMALL else self._worker.run
        try:
            await run(merge_segments, pending.path, parts)
        except BaseException:
            self._pending = pending  # it is tried again
            pending.due = self._clock.now() + self._options.after
            raise
        await asyncio.to_thread(self._describe, pending)
        self.kept.append(pending.path)
        log.warning("%s holds an incident, and what came before and after it", pending.path)

    def _describe(self, pending: PendingIncident) -> None:
        reasons = [{"at": at, "why": why} for at, why in pending.reasons]
        manifest = segments.describe(pending.path, self._incidents) | {"incidents": pending.count, "reasons": reasons}
        document = orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n"
        output_files.write(segments.manifest_of(pending.path), document, "the manifest")
        old = segments.sealed(self._incidents.existing())
        while len(old) > 1 and self._is_too_much(old):
            segments.delete(old.pop(0))

    def _is_too_much(self, paths: list[Path]) -> bool:
        keep, most = self._policy.keep, self._policy.max_size
        return (keep is not None and len(paths) > max(1, keep)) or (most is not None and segments.sizes(paths) > most)

    def _trim(self) -> None:
        """Delete the segments that end before the window; while an incident is pending only those beyond the size."""
        there = self._ring.existing()
        oldest = self._ring.at(self._clock.today() - self._options.window).name
        for path, following in pairwise(list(there)):
            is_old = self._pending is None and following.name <= oldest
            if segments.manifest_of(path).exists() and (is_old or segments.sizes(there) > self._options.size):
                segments.delete(path)
                there = there[1:]
            else:
                return
