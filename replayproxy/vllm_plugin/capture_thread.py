"""Writes captured exchanges to a cassette, in a thread of its own: the engine's next step does not wait for the disk.

Each exchange is a transaction, so that what ended before a crash stays on the cassette; when no answer has come for a
moment, the cassette is sealed to one file. Knows no vLLM.
"""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path

from replayproxy.api.cassettes import Cassette
from replayproxy.errors import CassetteError
from replayproxy.model import Exchange

log = logging.getLogger("vllm.replayproxy")

MOST_WAITING = 10_000
"""Exchanges in the queue: more are dropped, counted and reported. 1000 streams of 500 tokens take about 100 MB."""


IDLE = 0.5
"""Seconds without an answer, after which the cassette is sealed."""


class CaptureThread:
    """Appends to one cassette, which it makes if there is none."""

    def __init__(self, path: Path) -> None:
        """Raises `CassetteError` where the file cannot be written."""
        self.path = path
        self.written = 0
        self.dropped = 0
        self.sealed = threading.Event()
        """Set while everything that was taken is in one file that nobody writes to."""
        if not path.exists():
            Cassette.create(path).close()
        else:
            Cassette.open(path).close()
        self._waiting: queue.Queue[Exchange | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._write, name="replayproxy-capture", daemon=True)
        self._thread.start()

    def add(self, exchange: Exchange) -> None:
        """Take an exchange. Never waits, and raises nothing: what cannot be written is counted."""
        self.sealed.clear()
        try:
            self._waiting.put_nowait(exchange)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits, seal the cassette, and say how it went."""
        self._waiting.put(None)
        self._thread.join()
        log.info("replayproxy: %d answers were captured to %s", self.written, self.path)
        if self.dropped:
            log.warning("replayproxy: %d answers could not be written to %s", self.dropped, self.path)

    def _write(self) -> None:
        cassette: Cassette | None = None
        while True:
            try:
                exchange = self._waiting.get(timeout=None if cassette is None else IDLE)
            except queue.Empty:  # vLLM may kill its engine at the end: what is there is sealed by then
                self._seal(cassette)
                cassette = None
                continue
            if exchange is None:
                self._seal(cassette)
                return
            try:
                cassette = Cassette.open(self.path) if cassette is None else cassette
                cassette.add(exchange)
                self.written += 1
            except (CassetteError, OSError) as error:
                self.dropped += 1
                log.error("replayproxy: an answer could not be captured: %s", error)

    def _seal(self, cassette: Cassette | None) -> None:
        """Make one file of it, and let others write to it."""
        try:
            if cassette is not None:
                cassette.close()
        except (CassetteError, OSError) as error:
            log.error("replayproxy: %s could not be sealed: %s", self.path, error)
        if self._waiting.empty():
            self.sealed.set()
