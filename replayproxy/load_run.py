"""Drive a recording at a live server: where the plans of `drive`, cassettes, recorder and connections meet.

cassette ──▶ recorded_turns ──▶ plan_of ──▶ Driver ──▶ live server
                                              └──▶ Recorder ──▶ writer thread ──▶ new cassette
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.cassette.writer_thread import WriterThread
from replayproxy.core.headers import StoredFields
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import SALT_BYTES, Redactor
from replayproxy.drive.changes import RequestChanges
from replayproxy.drive.driver import DriveLimits, Driver
from replayproxy.drive.plan import DrivePlan
from replayproxy.drive.recorded import SESSION_HEADERS, RecordedTurn, recorded_turns
from replayproxy.drive.results import RequestResult, RunSummary, summary_of
from replayproxy.errors import SettingsError, UpstreamError
from replayproxy.model import Headers, Request, Response
from replayproxy.net.clock import SystemClock
from replayproxy.net.upstream import Address, HttpUpstream
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.recorder import Recorder
from replayproxy.views.port import ExchangeFilter
from replayproxy.worker_process import WorkerProcess


@dataclass(frozen=True, slots=True)
class LoadRun:
    """One run: which recording, at which server, onto which cassette (None: answers are not recorded).

    Without a recording (`cassette` None) `requests` are sent: the n-th is that of number n in the plan.

    `fields` are set on each request and not recorded. Times are in seconds. `bound`: see `RunSummary`.
    """

    cassette: Path | None
    upstream: str
    plan: DrivePlan
    changes: RequestChanges
    requests: Sequence[Request] = ()
    output: Path | None = None
    limits: DriveLimits = field(default_factory=DriveLimits)
    fields: Headers = ()
    first_byte: float = 600
    stall: float = 300
    wait_upstream: float = 0
    grace: float = 10
    bound: int = 100_000_000
    notes: dict[str, Any] | None = None
    """What the new cassette says about the run."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What became of a run, and of each of its requests."""

    summary: RunSummary
    requests: Sequence[RequestResult]
    responses: Sequence[Response | None] = ()


class Stopping:
    """How somebody ends a run: `first` sends nothing more, `second` does not wait for what is in flight."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    def receive(self, _number: int) -> None:
        """Note a signal."""
        (self.second if self.first.is_set() else self.first).set()


def read_turns(
    path: Path, chosen: ExchangeFilter, watch: Callable[[str, int, int], None]
) -> tuple[list[RecordedTurn], int]:
    """The requests of a cassette that can be sent, and how many cannot. Raises `CassetteError`, `SettingsError`."""
    with CassetteBrowser.open(path) as browser:
        browser.check(chosen)
        total = browser.count(chosen)
        turns: list[RecordedTurn] = []
        skipped = 0
        for place, turn in enumerate(recorded_turns(browser, chosen)):
            if turn is None:
                skipped += 1
            else:
                turns.append(turn)
            if place % 256 == 0:
                watch("recorded requests read", place, total)
    turns.sort(key=lambda turn: (turn.at, turn.number))
    return turns, skipped


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine. Raises `SettingsError` where the URL is none."""
    host = Address.of(url).host
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def refuse_existing(output: Path, cassette: Path | None) -> None:
    """Raise `SettingsError` where a run would be recorded onto something that is there."""
    if output.exists() and (not output.is_file() or output.stat().st_size):
        same = cassette is not None and output.resolve() == cassette.resolve()
        raise SettingsError(
            f"{output} is {'the recording itself' if same else 'there already'}: each run gets a cassette of its own,"
            " so name another file with -o"
        )


class CassetteRequests:
    """Reads requests of a cassette in a thread of its own, so that the driver is not late for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "replayproxy-requests")
        self._browser: CassetteBrowser | None = None

    async def request(self, number: int) -> Request:
        """The request of one exchange. Raises `Damaged`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, number)

    def _read(self, number: int) -> Request:
        if self._browser is None:
            self._browser = CassetteBrowser.open(self._path)
        return self._browser.request(number)

    async def close(self) -> None:
        """Close the cassette and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._browser is not None:
            self._browser.__exit__()


class GivenRequests:
    """Requests that are there already."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = requests

    async def request(self, number: int) -> Request:
        """The one of this number."""
        return self._requests[number]

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class _RunRecording:
    """What records the answers of a run."""

    recorder: Recorder
    writer: CassetteWriter
    thread: WriterThread
    worker: WorkerProcess
    flushing: asyncio.Task[None] | None = None

    def start(self, notes: dict[str, Any]) -> None:
        self.writer.begin_recording()
        for name, value in notes.items():
            self.writer.note(name, value)
        self.thread.start()
        self.flushing = asyncio.create_task(self.recorder.run())

    async def stop(self) -> None:
        """Write everything and seal."""
        if self.flushing is None:
            self.writer.discard()
        else:
            await self.recorder.finish()
            await self.thread.stop()
            self.flushing.cancel()
            await asyncio.wait((self.flushing,))
        await asyncio.to_thread(self.worker.close)

    @property
    def lost(self) -> int:
        """Exchanges that are not on the cassette."""
        return sum(self.thread.dropped.values()) + (self.thread.trouble is not None)


def _recording(run: LoadRun, output: Path, clock: SystemClock) -> _RunRecording:
    """With the match rules and the masks of the recording, so that keys of both cassettes meet."""
    redactor, rules = None, MatchRules()
    if run.cassette is not None:
        with CassetteReader(run.cassette) as source:
            redactor, rules = source.redactor, source.rules
    redactor = redactor or Redactor(os.urandom(SALT_BYTES), ())
    matcher = Matcher(rules, redactor)
    writer = CassetteWriter(output, matcher, begin=False)
    thread = WriterThread(writer, clock)
    worker = WorkerProcess()
    recorder = Recorder(
        thread,
        clock,
        Counters(),
        redactor,
        compared=matcher.compared_headers,
        fields=StoredFields.of(keep=SESSION_HEADERS),
        matcher=matcher,
        worker=worker,
    )
    return _RunRecording(recorder, writer, thread, worker)


async def drive(run: LoadRun, stopping: Stopping, started: Callable[[Driver], None]) -> LoadResult:
    """Drive one run to its end. `started` gets the driver, to be watched. Raises `UpstreamError` if nobody listens."""
    clock = SystemClock()
    async with AsyncExitStack() as undo:
        undo.callback(clock.close)
        upstream = HttpUpstream(run.upstream, clock, first_byte=run.first_byte, stall=run.stall, fields=run.fields)
        undo.callback(upstream.close)
        await _reach(upstream, clock, run.wait_upstream, stopping)
        reader = GivenRequests(run.requests) if run.cassette is None else CassetteRequests(run.cassette)
        undo.push_async_callback(reader.close)
        recording = None if run.output is None else _recording(run, run.output, clock)
        driver = Driver(
            run.plan,
            run.changes,
            run.limits,
            clock=clock,
            target=upstream,
            reader=reader,
            recorder=None if recording is None else recording.recorder,
        )
        try:
            if recording is not None:
                recording.start(run.notes or {})
            started(driver)
            await _carry_out(driver, stopping, run.grace)
        finally:
            if recording is not None:
                await recording.stop()
    summary = summary_of(
        driver.results,
        most_in_flight=driver.most_in_flight,
        interrupted=driver.interrupted,
        lost=0 if recording is None else recording.lost,
        bound=run.bound,
    )
    return LoadResult(summary, driver.results, driver.responses)


async def _reach(upstream: HttpUpstream, clock: SystemClock, patience: float, stopping: Stopping) -> None:
    """Wait until the server accepts a connection. Raises `UpstreamError`."""
    deadline = clock.now() + round(patience * 1e9)
    while True:
        try:
            await upstream.reach()
            return
        except UpstreamError:
            if clock.now() >= deadline or stopping.first.is_set():
                raise
        await clock.sleep_until(min(deadline, clock.now() + 500_000_000))


async def _carry_out(driver: Driver, stopping: Stopping, grace: float) -> None:
    running = asyncio.create_task(driver.run())
    first = asyncio.create_task(stopping.first.wait())
    second = asyncio.create_task(stopping.second.wait())
    try:
        await asyncio.wait((running, first), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            driver.stop()
            await asyncio.wait((running, second), timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                driver.cancel()
        await running
    finally:
        first.cancel()
        second.cancel()
        if not running.done():
            driver.cancel()
            running.cancel()
            await asyncio.wait((running,))
