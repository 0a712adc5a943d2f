"""Write one line per request to stderr, in a thread of its own.

    loop, writing thread ── add ──▶ queue (bounded) ──▶ thread ──▶ stderr

A terminal that is paused, or a pipe whose reader is slow, blocks a write for as long as it likes: traffic and recording
must not wait for it. Lines that find the queue full are left out and counted.
"""

from __future__ import annotations

import queue
import sys
import threading

from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.access_line import line_of
from replayproxy.cli.terminal.screen import Screen
from replayproxy.views.access import AccessEntry, fields_of
from replayproxy.views.units import plural

MOST_WAITING = 10_000
"""Entries, of about 500 bytes each."""

PATIENCE = 2.0
"""Seconds for which the end of the process waits for lines that are not written yet."""


class AccessLog:
    """The access log of one process. A context manager: what is waiting at its end is still written."""

    def __init__(self) -> None:
        self._queue: queue.Queue[AccessEntry | None] = queue.Queue(MOST_WAITING)
        self._left_out = 0
        self._screen: Screen | None = None
        self._thread = threading.Thread(target=self._run, name="replayproxy-access-log", daemon=True)

    def __enter__(self) -> AccessLog:
        self._screen = None if messages.is_json() else Screen.on(sys.stderr)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._queue.put(None, timeout=PATIENCE)
        except queue.Full:
            return
        self._thread.join(PATIENCE)

    def add(self, entry: AccessEntry) -> None:
        """Take an entry. Never waits and never raises."""
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self._left_out += 1

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            if self._left_out and self._queue.empty():
                left_out, self._left_out = self._left_out, 0
                messages.warning(
                    f"stderr took lines too slowly: {plural(left_out, 'line')} of the access log left out",
                    left_out=left_out,
                )
            self._write(entry)

    def _write(self, entry: AccessEntry) -> None:
        if self._screen is None:
            messages.info(f"{entry.method} {entry.path} {entry.status} {entry.outcome}", **fields_of(entry))
            return
        try:
            self._screen.line(*line_of(entry, self._screen.width))
            self._screen.stream.flush()
        except (OSError, ValueError):  # the terminal went away; stderr was closed
            return
