"""Control of a running proxy: its state, its result so far, misses, calls, reset, rotation.

Entry points (command line, admin port, Python, pytest) use this object and no part behind it. It starts and stops
nothing. Its methods are called on the loop of the proxy; those that read a whole cassette for JSON do so in a thread.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replayproxy.assembly import Parts
from replayproxy.cassette.file_digest import file_digests
from replayproxy.cassette.hand_over_counts import HandOverCounts
from replayproxy.errors import CassetteError
from replayproxy.model import RecordingRef, Response
from replayproxy.proxy.carried_ids import CarriedId
from replayproxy.proxy.fault_result import ClientFault
from replayproxy.proxy.request_log import Call
from replayproxy.proxy.result import Cause, RecordingInfo, RunResult
from replayproxy.settings import Settings
from replayproxy.views.miss import Miss

if TYPE_CHECKING:
    from replayproxy.simulation_control import SimulationControl

log = logging.getLogger("replayproxy")


@dataclass(slots=True)
class Playable:
    """The recordings that can be played, and those of them that this run has recorded: a request came for each.

    `damage` says why the list ends early, if it does.
    """

    recordings: list[RecordingInfo] = field(default_factory=list)
    new: set[RecordingRef] = field(default_factory=set)
    damage: str = ""


class Control:
    """What an entry point may know of a proxy and do with it."""

    def __init__(self, parts: Parts) -> None:
        self.settings: Settings = parts.settings
        self.counters = parts.state.counters
        self.data_server = parts.server
        self.now = parts.clock.now
        self._parts = parts
        self.is_leaving = False
        """The run is about to end, and still accepts connections (`--lame-duck`)."""
        self.recorded_files: list[Path] = []
        """The files to which this run has recorded, in their order; none after a start that failed."""
        if parts.recording is not None:
            self.recorded_files = parts.recording.files
            parts.recording.writer_thread.moved = self._moved

    # State

    def reasons_not_ready(self) -> list[str]:
        """Why no traffic should be sent here; empty means ready."""
        return ["draining"] if self._parts.server.draining or self.is_leaving else []

    @property
    def trouble(self) -> str | None:
        """Why recording is degraded, if it is; what was lost stays lost."""
        recording = self._parts.recording
        if recording is None:
            return None
        return recording.writer_thread.trouble or recording.writer_thread.loss or recording.rotation.trouble

    def state_bytes(self) -> dict[str, int]:
        """About how much memory is kept of past requests and for coming ones, by kind. Each kind is bounded."""
        parts = self._parts
        return {
            **parts.state.state_bytes(),
            "unmasked": 0 if parts.recording is None else parts.recording.recorder.pending_bytes,
            **({} if parts.faults is None else {"faults": parts.faults.bytes}),
            **parts.store.state_bytes(),
        }

    def upstream_counts(self) -> Mapping[str, int]:
        """What the upstream has counted; empty without one."""
        return {} if self._parts.upstream is None else self._parts.upstream.counts

    @property
    def recorded(self) -> int:
        """How many exchanges are on cassettes."""
        return 0 if self._parts.recording is None else self._parts.recording.writer_thread.recorded

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many exchanges were not recorded, by reason."""
        return {} if self._parts.recording is None else dict(self._parts.recording.writer_thread.dropped)

    @property
    def hand_overs(self) -> HandOverCounts | None:
        """The hand-overs of the pair that is recorded, as `verify --pair` judges them; None without one."""
        recording = self._parts.recording
        return None if recording is None or self.settings.pair is None else recording.writer_thread.hand_overs

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be written."""
        return 0 if self._parts.recording is None else self._parts.recording.writer_thread.queued_bytes

    def recorded_file_sizes(self) -> int:
        """Bytes of the cassettes of this run, with their logs; those that were taken away count as none."""
        names = [f"{path}{tail}" for path in self.recorded_files for tail in ("", "-wal")]
        return sum(size for name in names if (size := _size_of(name)))

    def disk_free(self) -> int | None:
        """Bytes that are free where this run records; None if it does not record, or the disk does not say."""
        if not self.recorded_files:
            return None
        try:
            return shutil.disk_usage(self.recorded_files[-1].parent).free
        except OSError:
            return None

    # Result

    def report(self, playable: Playable | None = None) -> RunResult:
        """The result of this run so far. `playable`: what was read before the cassettes were closed."""
        return self._report(self.playable() if playable is None else playable, self._causes())

    async def report_as_json(self) -> list[bytes]:
        """The result so far as JSON, in parts. All of it is made in a thread, so that it delays no stream."""
        causes = self._causes()  # now, because the loop may add to them meanwhile

        def encoded() -> list[bytes]:
            # A file that is recorded to changes: its digest would be another one when the report is read.
            digests = {} if self.settings.records else file_digests(self.settings.cassettes)
            return list(replace(self._report(self.playable(), causes), digests=digests).encoded())

        return await self._parts.store.aside(encoded)

    async def result(self) -> RunResult:
        """The result so far, made in a thread: it lists all recordings."""
        causes = self._causes()
        return await self._parts.store.aside(lambda: self._report(self.playable(), causes))

    async def result_of_misses(self) -> RunResult:
        """The result so far without recordings, which costs little."""
        return self._report(Playable(), self._causes())

    def _report(self, playable: Playable, causes: tuple[Cause, ...]) -> RunResult:
        counters = self.counters
        return RunResult(
            mode=self.settings.mode.value,
            cassettes=tuple(map(str, self.settings.cassettes)),
            recordings=len(playable.recordings),
            served=counters.requests["replay"],
            forwarded=counters.requests["forward"],
            recorded=self.recorded,
            dropped=sum(self.dropped.values()),
            simulated=counters.requests["simulate"],
            causes=causes,
            unused=tuple(
                recording
                for recording in playable.recordings
                if recording.place not in counters.played and recording.place not in playable.new
            ),
            lateness_max=counters.lateness_max,
            forgotten=dict(self._parts.state.misses.forgotten),
            damage=playable.damage,
            faults=() if self._parts.faults is None else self._parts.faults.log.results(),
            carried=CarriedId.of(counters.carried),
        )

    def client_faults(self, scopes: Container[str] | None = None) -> list[ClientFault]:
        """The faults so far and what their clients did, of these scopes or of all; empty where none are injected."""
        if self._parts.faults is None:
            return []
        return self._parts.faults.log.client_faults(scopes)

    # Misses and calls

    def _causes(self) -> tuple[Cause, ...]:
        return tuple(Cause(name, miss, times) for name, miss, times in self._parts.state.misses.causes.values())

    def misses(self) -> dict[str, Miss]:
        """The misses that are remembered, by name (`m-0001`)."""
        return {name: miss for name, miss, _ in self._parts.state.misses.causes.values()}

    async def misses_as_json(self) -> list[dict[str, Any]]:
        """The causes of misses, made in a thread."""
        causes = self._causes()
        return await self._parts.store.aside(lambda: [cause.document() for cause in causes])

    def miss_as_json(self, name: str) -> dict[str, Any] | None:
        """The cause of this name; None where it is not remembered."""
        return next((cause.document() for cause in self._causes() if cause.id == name), None)

    def calls(self) -> list[Call]:
        """The requests so far, in the order in which they were decided; empty without a request log."""
        request_log = self._parts.state.request_log
        return [] if request_log is None else request_log.calls

    # Recordings

    def playable(self) -> Playable:
        """What can be replayed, as far as it can be read: a damaged file must keep nothing from being sealed."""
        found = Playable()
        try:
            found.recordings.extend(self._listed())
            if self._parts.recording is not None:
                found.new.update(place for _, place, *_ in self._parts.store.playable(new=True))
        except CassetteError as error:
            found.damage = str(error)
        return found

    def recordings(self) -> list[RecordingInfo]:
        """Everything that can be played now, oldest first. Raises `CassetteError`."""
        return list(self._listed())

    def _listed(self) -> Iterator[RecordingInfo]:
        for cassette, place, short_id, method, path in self._parts.store.playable():
            yield RecordingInfo(cassette, short_id, place, method, path)

    async def response(self, recording: RecordingRef) -> Response:
        """The answer of a recording. Raises `CassetteError`."""
        return await self._parts.store.read(recording)

    # Changes

    @property
    def simulation(self) -> SimulationControl | None:
        """Changes the simulated server while it runs; None where none is simulated, or there is no admin port."""
        simulated, faults = self._parts.simulated, self._parts.faults
        if simulated is None or faults is None:
            return None
        from replayproxy.simulation_control import SimulationControl

        return SimulationControl(simulated, faults.chooser)

    def reset(self, scope: str | None = None, counts: bool = False) -> None:
        """Equal requests get their first recording again, in this scope or in all.

        `counts`: also forget what was counted, and the misses. No recording is touched.
        """
        self._parts.state.reset(scope, counts=counts)
        if self._parts.carry is not None:
            self._parts.carry.reset(scope)
        if self._parts.faults is not None:
            self._parts.faults.reset(scope, counts=counts)
        if scope is None and self._parts.recorded_server is not None:
            self._parts.recorded_server.reset()

    async def rotate(self) -> tuple[str, str]:
        """Record from now on to a new cassette beside the first, named after the time, and seal the one so far.

        Returns both names. Raises `CassetteError` where that cannot be; then the recording continues where it was.
        """
        assert self._parts.recording is not None
        return await self._parts.recording.rotation.rotate()

    @property
    def keeps_window(self) -> bool:
        """Whether `keep` can be called."""
        return self._parts.recording is not None and self._parts.recording.window is not None

    def keep(self, reason: str) -> tuple[str, float]:
        """Make a cassette of the window and of what follows.

        Returns its name, and the seconds until it is there.
        """
        assert self._parts.recording is not None
        window = self._parts.recording.window
        assert window is not None
        return str(window.keep(reason)), window.seconds_left

    @property
    def incident_files(self) -> list[Path]:
        """The cassettes of incidents that this run has made."""
        recording = self._parts.recording
        return [] if recording is None or recording.window is None else list(recording.window.kept)

    def _moved(self, old: Path, new: Path) -> None:
        """The file of the recording was taken away, and it continues in another one: play from there what is new."""
        if new != old:
            self.recorded_files.append(new)
        try:
            self._parts.store.reopen(old, new)
        except CassetteError as error:
            log.error("what is recorded from now on is not played: %s", error)


def _size_of(name: str) -> int:
    try:
        return os.stat(name).st_size  # noqa: PTH116  a name and its tail, many times per minute
    except OSError:
        return 0
