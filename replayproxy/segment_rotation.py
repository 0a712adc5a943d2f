"""Rotate a recording into segments, write their manifests, and delete old ones: by size, age, number and free disk.

    Control, every half second ──▶ SegmentRotation ──▶ WriterThread.rotate ──▶ manifest ──▶ retention

Everything slow is done in threads: traffic and recording go on. What fails here is logged and tried again; it costs no
exchange. Deletes nothing but sealed segments of its own recording.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from replayproxy import output_files
from replayproxy.cassette import segments
from replayproxy.cassette.segments import SegmentNames
from replayproxy.core.identity.rules import Matcher
from replayproxy.errors import Locked, ReplayProxyError
from replayproxy.ports import Clock

log = logging.getLogger("replayproxy.recording")

LOOK_NANOSECONDS = 500_000_000
"""Between two looks at the size of the file and the disk."""

SHARE = 8
"""With `--max-size` and without `--rotate`: a segment is this part of the whole, so that little is deleted at once."""

MOST_FILES = 1000
"""Names that a run remembers; of a run of months most are deleted."""

NO_ROOM = "disk nearly full"
"""Why an exchange is not recorded below `--min-free`."""


@dataclass(frozen=True, slots=True)
class SegmentPolicy:
    """When a segment ends, and which sealed ones stay. None: no limit. Sizes in bytes, `age` in ns."""

    size: int | None = None
    age: int | None = None
    keep: int | None = None
    max_size: int | None = None
    min_free: int | None = None

    @property
    def is_on(self) -> bool:
        """Whether there is anything to do."""
        return any(limit is not None for limit in (self.size, self.age, self.keep, self.max_size, self.min_free))

    @property
    def segment_size(self) -> int | None:
        """Bytes after which a segment ends."""
        if self.size is None and self.age is None and self.max_size is not None:
            return max(1, self.max_size // SHARE)
        return self.size


class SegmentWriter(Protocol):
    """What writes the current segment: the writing thread."""

    recorded: int
    """Exchanges that are on cassettes."""

    async def rotate(self, path: Path) -> None:
        """Go on onto a new cassette, and seal the old one. Raises `CassetteError`."""
        ...

    def drop(self, number: int, reason: str) -> None:
        """Count an exchange that is not recorded."""
        ...


@dataclass(frozen=True, slots=True)
class SegmentedFiles:
    """How segments are called, and those of this run: the current one is last; the list is kept up to date."""

    names: SegmentNames
    written: list[Path]


class SegmentRotation:
    """The segments of one recording. `run` it as a task; call `finish` when the last segment is sealed."""

    def __init__(
        self,
        writer_thread: SegmentWriter,
        clock: Clock,
        files: SegmentedFiles,
        policy: SegmentPolicy,
        matcher: Matcher,
        *,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """`free` tells how many bytes are free in a folder."""
        self._writer_thread = writer_thread
        self._clock = clock
        self._names = files.names
        self._policy = policy
        self._matcher = matcher
        self._files = files.written
        self._free = free
        self._began = clock.now()
        self._recorded_before = 0
        self._rotating = asyncio.Lock()
        self._has_rotated = False
        self.trouble: str | None = None
        """Why nothing is recorded, although the cassette can be written."""
        self.deleted = 0
        """Segments that retention has deleted."""

    def admits(self) -> bool:
        """Whether an exchange may be recorded now; if not, it is counted as dropped."""
        if self.trouble is None:
            return True
        self._writer_thread.drop(0, NO_ROOM)
        return False

    async def rotate(self) -> tuple[str, str]:
        """Record from now on to a new segment, and seal the one so far. Returns both names.

        Raises `CassetteError` where that cannot be; then recording goes on where it was.
        """
        async with self._rotating:
            old, new = self._files[-1], self._names.at(self._clock.today())
            await self._writer_thread.rotate(new)
            self._files.append(new)
            if len(self._files) > MOST_FILES:
                self._files[:-1] = [path for path in self._files[:-1] if path.exists()][-MOST_FILES // 2 :]
            self._began, self._recorded_before = self._clock.now(), self._writer_thread.recorded
            self._has_rotated = True
            await asyncio.to_thread(self._describe, old)
            return str(old), str(new)

    async def run(self) -> None:
        """Rotate and delete when it is time, until cancelled."""
        if not self._policy.is_on:
            return
        await asyncio.to_thread(self._adopt)
        while True:
            try:
                if self._is_due():
                    await self.rotate()
                await asyncio.to_thread(self._retain)
            except (ReplayProxyError, OSError) as error:
                log.warning("the segments of %s cannot be kept in order now: %s", self._names.base, error)
            await self._clock.sleep_until(self._clock.now() + LOOK_NANOSECONDS)

    async def finish(self) -> None:
        """The last segment is sealed: write its manifest, and delete what is too much with it."""
        if self._policy.is_on or self._has_rotated:
            await asyncio.to_thread(self._close)

    def _is_due(self) -> bool:
        """Whether the segment ends here. One without exchanges goes on: nobody wants empty files."""
        if self._writer_thread.recorded == self._recorded_before:
            return False
        if self._policy.age is not None and self._clock.now() - self._began >= self._policy.age:
            return True
        limit = self._policy.segment_size
        return limit is not None and segments.sizes(self._files[-1:]) >= limit

    # In threads

    def _describe(self, path: Path) -> dict[str, Any]:
        """Write the manifest of a sealed segment, and return it; empty where it cannot be written."""
        try:
            manifest = segments.describe(path, self._names)
            document = orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n"
            output_files.write(segments.manifest_of(path), document, "the manifest")
        except (ReplayProxyError, OSError) as error:
            log.warning("%s has no manifest: %s", path, error)
            return {}
        return manifest

    def _close(self) -> None:
        last = self._files[-1]
        manifest = self._describe(last)
        if (
            self._policy.is_on
            and len(self._files) > 1
            and manifest
            and not manifest["exchanges"]
            and not manifest["dropped"]
        ):
            segments.delete(last)  # it was begun a moment ago, and says nothing
            self._files.pop()
        self._retain(is_written=False)

    def _adopt(self) -> None:
        """Seal and describe the segments that a recorder that was killed has left."""
        for path in self._names.existing():
            if path in self._files or segments.manifest_of(path).exists():
                continue
            try:
                segments.seal_left(path, self._matcher)
            except Locked:
                continue  # another recorder writes it
            except (ReplayProxyError, OSError) as error:
                log.warning("%s was left by another run and cannot be sealed: %s", path, error)
                continue
            self._describe(path)

    def _retain(self, *, is_written: bool = True) -> None:
        """Delete the oldest sealed segments while there is too much of them, or too little room.

        `is_written`: the last one is being written, and stays.
        """
        policy, current = self._policy, self._files[-1]
        there = [path for path in self._names.existing() if path != current or not is_written]
        old = segments.sealed(there)
        excess = 0 if policy.keep is None else max(0, len(old) - policy.keep)
        while old and (excess > 0 or self._is_too_large({*there, current}) or self._lacks_room()):
            segments.delete(old[0])
            there.remove(old.pop(0))
            self.deleted += 1
            excess -= 1
        if self._lacks_room():
            if self.trouble is None:
                log.error("less than --min-free is free where %s is: nothing more is recorded", current)
            self.trouble = f"less than --min-free is free where {current} is: make room, and recording goes on"
        elif self.trouble is not None:
            self.trouble = None
            log.warning("there is room again where %s is: recording goes on", current)

    def _is_too_large(self, paths: Collection[Path]) -> bool:
        return self._policy.max_size is not None and segments.sizes(paths) > self._policy.max_size

    def _lacks_room(self) -> bool:
        return self._policy.min_free is not None and self._free(self._files[-1].parent) < self._policy.min_free
