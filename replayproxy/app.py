"""Start and stop one proxy: its ports, its ready file, its cassette.

    App(settings) ──▶ start ──▶ stop          or, where a start fails,      App(settings) ──▶ start ──▶ give_up

Does not know signals or processes (`lifetime` does), or what is behind the admin port.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

from replayproxy import output_files
from replayproxy.assembly import Recording, assemble, open_recordings
from replayproxy.control import Control
from replayproxy.errors import SettingsError, setting
from replayproxy.net.http_server import tls_context
from replayproxy.net.upstream import Address
from replayproxy.proxy.request_log import RequestLog
from replayproxy.proxy.result import RunResult
from replayproxy.settings import Settings
from replayproxy.views.access import AccessEntry


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a started app listens."""

    url: str
    admin_url: str | None


class AdminPort(Protocol):
    """Serves the admin port. Given by the entry point that wants one, so that others need not load it."""

    def __call__(self, control: Control, stopped: asyncio.Event) -> tuple[str, asyncio.Task[None]]:
        """Listen, and serve until `stopped`. Returns the URL, and the task that serves. Raises `SettingsError`."""
        ...


class App:
    """One proxy. `lifetime` starts and stops it for a process of its own."""

    def __init__(
        self,
        settings: Settings,
        *,
        request_log: RequestLog | None = None,
        admin: AdminPort | None = None,
        access: Callable[[AccessEntry], None] | None = None,
    ) -> None:
        """Build the proxy. Raises `SettingsError`, `CassetteError`; then no file stays open.

        `admin` must be given if the settings have an admin port. `access` is called with each answered request, from
        the loop or the writing thread; it must not wait.
        """
        self.settings = settings
        self.last_report: RunResult | None = None
        """The result of the run, once the app has stopped."""
        self._admin = admin
        self._ready_file: tuple[int, int] | None = None
        self._socket_file: tuple[int, int] | None = None
        """Device and inode of these files when this app made them."""
        self._stopped = asyncio.Event()
        self._hurried = asyncio.Event()
        self._port = 0
        """Of the data port; 0: it is a socket file."""
        self._tasks: list[asyncio.Task[None]] = []
        self._flush_task: asyncio.Task[None] | None = None
        """One of the two that never end by themselves."""
        self._rotation_task: asyncio.Task[None] | None = None
        self._window_task: asyncio.Task[None] | None = None
        ready_file = settings.listen.ready_file
        if ready_file is not None:
            output_files.refuse(ready_file, setting("ready_file"), settings.played_cassettes)
            _remove_stale(ready_file)
        self.parts = assemble(settings, request_log, access)
        self.control = Control(self.parts)

    async def start(self) -> Addresses:
        """Listen. Raises `SettingsError` where that cannot be; then call `give_up`, and nothing of the start stays."""
        listen = self.settings.listen
        server_entries = await self._probe_server() if self.settings.recording.probe else {}
        url = await self._listen()
        if self.parts.simulated is not None:
            self.parts.simulated.listening(listen.host, self._port, os.environ)
        if self.parts.recorded_server is not None and self.parts.recording is None:
            self.parts.recorded_server.start()
        admin_url = self._start_admin() if listen.admin_port is not None else None
        if listen.ready_file is not None:
            document = {"url": url, "admin_url": admin_url, "pid": os.getpid()}
            output_files.write(
                listen.ready_file, orjson.dumps(document), setting("ready_file"), self.settings.played_cassettes
            )
            self._ready_file = _identity(listen.ready_file)
        # Last, and no other task has run since we listen: a failure before has written nothing, not a byte of a
        # cassette that exists.
        if self.parts.recording is not None:
            self._start_recording(self.parts.recording, server_entries)
        return Addresses(url, admin_url)

    async def _probe_server(self) -> dict[str, object]:
        """What the server answers about itself; of a pair the decode server, which gets such requests live too."""
        from replayproxy.net.server_probe import server_entries  # loads aiohttp, which takes 0.2 s

        pair = self.settings.pair
        url = pair.decode[0] if pair is not None else self.settings.upstream
        redactor = self.parts.proxy.matcher.redactor
        if url is None or redactor is None:
            return {}
        return await server_entries(url, self.parts.clock, redactor, self.settings.upstream_fields)

    async def _listen(self) -> str:
        listen = self.settings.listen
        if listen.uds is not None:
            await self.parts.server.listen_unix(str(listen.uds))
            self._socket_file = _identity(listen.uds)
            return f"unix:{listen.uds}"
        tls = tls_context(listen.ssl_certfile, listen.ssl_keyfile)
        host, port = self.parts.server.listen(listen.host, listen.port, tls=tls)
        self._port = port
        self._refuse_loop(port)
        return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def _refuse_loop(self, port: int) -> None:
        """Raise `SettingsError` if the upstream is this proxy: each request would come back for ever."""
        pair = self.settings.pair
        for url in (self.settings.upstream, *(pair.prefill + pair.decode if pair else ())):
            address = Address.of(url) if url is not None else None
            ours = ("127.0.0.1", "localhost", "::1", self.settings.listen.host)
            if address is not None and address.port == port and address.host in ours:
                raise SettingsError(f"the upstream {url} is this proxy itself: give the URL of the real server")

    def _start_admin(self) -> str:
        assert self._admin is not None, "settings with an admin port, and nothing that serves it"
        url, task = self._admin(self.control, self._stopped)
        self._tasks.append(task)
        return url

    def _start_recording(self, recording: Recording, server_entries: dict[str, object]) -> None:
        recording.cassette_writer.begin_recording()
        if self.settings.plays:
            open_recordings(self.parts.store, self.settings, self.parts.proxy.matcher)
        if self.parts.recorded_server is not None:
            self.parts.recorded_server.start()
        for name, value in (server_entries | recording.server_watch.entries).items():
            recording.cassette_writer.note(name, value)
        recording.writer_thread.start()
        recording.server_watch.start()
        self._flush_task = asyncio.create_task(recording.recorder.run())
        self._rotation_task = asyncio.create_task(recording.rotation.run())
        self._tasks += [self._flush_task, self._rotation_task]
        if recording.window is not None:
            self._window_task = asyncio.create_task(recording.window.run(recording.rotation))
            self._tasks.append(self._window_task)

    def hurry(self) -> None:
        """End the draining of `stop` now."""
        self._hurried.set()
        self.parts.server.hurry()

    async def stop(self, drain: float | None = None) -> None:
        """Accept no more requests, let answers end for `drain` seconds, mark those that could not, write, seal."""
        parts, recording = self.parts, self.parts.recording
        if drain is None:
            await self._leave()
        parts.proxy.player.release()
        await parts.server.drain(self.settings.listen.drain if drain is None else drain)
        if recording is not None:
            recording.recorder.stopping = True
        if parts.faults is not None:
            parts.faults.stopping = True
        await parts.server.cut()
        if parts.upstream is not None:
            parts.upstream.close()
        if recording is not None:
            await recording.server_watch.stop()
            await recording.recorder.finish()
        for worker in (parts.worker, parts.leg_worker):
            await asyncio.to_thread(worker.close)
        playable = self.control.playable()
        if recording is not None:
            parts.store.close()  # a reader would keep the file from being sealed
            for task in (self._rotation_task, self._window_task):
                if task is not None:
                    task.cancel()
            await recording.writer_thread.stop()
            await recording.rotation.finish()
            if recording.window is not None:
                await recording.window.finish()
        self.last_report = self.control.report(playable)
        if parts.recorded_server is not None:
            await parts.recorded_server.close()
        await self._end_tasks()
        parts.store.close()
        if parts.simulated is not None:
            parts.simulated.close()
        parts.clock.close()
        self._remove_own_files()

    async def _leave(self) -> None:
        """Be not ready for `lame_duck` seconds before connections are refused; `hurry` ends it."""
        self.control.is_leaving = True
        with suppress(TimeoutError):
            if seconds := self.settings.listen.lame_duck:
                await asyncio.wait_for(self._hurried.wait(), seconds)

    async def give_up(self) -> None:
        """Stop at once, however far the start has come; a start that failed leaves no file behind."""
        recording = self.parts.recording
        if recording is not None and recording.writer_thread.started:
            await self.stop(drain=0)
            return
        await self.parts.server.drain(0)
        await self.parts.server.cut()
        if self.parts.upstream is not None:
            self.parts.upstream.close()
        if self.parts.recorded_server is not None:
            await self.parts.recorded_server.close()
        await self._end_tasks()
        self.parts.close()
        self._remove_own_files()
        self.control.recorded_files.clear()

    async def _end_tasks(self) -> None:
        self._stopped.set()
        if self._flush_task is not None:
            self._flush_task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    def _remove_own_files(self) -> None:
        """Remove the files that say that this app runs, unless somebody else has put others in their place."""
        listen = self.settings.listen
        for path, own in ((listen.ready_file, self._ready_file), (listen.uds, self._socket_file)):
            if path is not None and own is not None and _identity(path) == own:
                with suppress(OSError):
                    path.unlink()


def _remove_stale(ready_file: Path) -> None:
    """Remove the file that a killed proxy has left: a process that waits for ours would take it."""
    with suppress(OSError, orjson.JSONDecodeError):
        if ready_file.is_file() and set(orjson.loads(ready_file.read_bytes())) == {"url", "admin_url", "pid"}:
            ready_file.unlink()


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file or socket; None where it does not exist, or is a pipe or device."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) or stat.S_ISSOCK(found.st_mode) else None
