"""The cassettes of an inspector: opened in threads, for one question at a time, each with a bounded time.

    await library.ask("chat.cassette", question)  ──▶  thread: question(CassetteBrowser)  ──▶  its answer

A sealed cassette stays open from question to question. One that is being recorded is opened anew for each, so that
nothing of it is held when its recorder wants to seal it, and a cassette that has been replaced is seen as it is now.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.errors import CassetteError, NotACassette, ReplayProxyError

T = TypeVar("T")

THREADS = 4

PATIENCE = 15.0
"""Seconds for one question. Then its statement is interrupted, and the page says how to ask for less."""

MOST_OPEN = 32
"""Sealed cassettes that stay open."""

_Identity = tuple[int, int, int, int]


class TookTooLong(ReplayProxyError):
    """A question that was not answered in time."""

    status = 503
    code = "took_too_long"


class NoSuchCassette(ReplayProxyError):
    """A name that no cassette here has."""

    status = 404
    code = "no_such_cassette"


class _Job:
    """A question that is being answered by a thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Sequence[CassetteBrowser] = ()
        self._thread = 0
        self.expired = False

    @contextmanager
    def on(self, browsers: Sequence[CassetteBrowser]) -> Iterator[None]:
        """While the block runs, `expire` interrupts this thread's statement."""
        with self._lock:
            self._running, self._thread = browsers, threading.get_ident()
        try:
            yield
        finally:
            with self._lock:
                self._running = ()

    def expire(self) -> None:
        """End the statement that runs."""
        with self._lock:
            self.expired = True
            for browser in self._running:
                browser.cassette.interrupt(self._thread)


class CassetteLibrary:
    """The cassettes that `paths` gives, by name. `paths` is asked each time: a recorder may have gone on to another."""

    def __init__(self, paths: Callable[[], Sequence[Path]], patience: float = PATIENCE) -> None:
        self._paths = paths
        self._patience = patience
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="inspector")
        self._lock = threading.Lock()
        self._opened: dict[Path, tuple[_Identity, CassetteBrowser]] = {}

    def names(self) -> dict[str, Path]:
        """The cassettes by name, in their order. Two with one file name get a number: `a.cassette~2`."""
        found: dict[str, Path] = {}
        for path in dict.fromkeys(self._paths()):
            name, number = path.name, 1
            while name in found:
                number += 1
                name = f"{path.name}~{number}"
            found[name] = path
        return found

    def name_of(self, path: str) -> str | None:
        """The name of the cassette at a path, or None."""
        return next((name for name, found in self.names().items() if str(found) == path), None)

    async def ask(self, name: str, question: Callable[[CassetteBrowser], T]) -> T:
        """Let a thread ask a cassette. Raises `NoSuchCassette`, `CassetteError`, `TookTooLong`."""
        return await self.ask_all([name], lambda browsers: question(browsers[0]))

    async def ask_all(self, names: Sequence[str], question: Callable[[Sequence[CassetteBrowser]], T]) -> T:
        """Let a thread ask several cassettes at once, in this order. Raises as `ask` does."""
        there = self.names()
        for name in names:
            if name not in there:
                raise NoSuchCassette(f"there is no cassette {name!r} here: the overview has those that there are")
        job, paths = _Job(), [there[name] for name in names]
        answered = asyncio.get_running_loop().run_in_executor(self._threads, self._answer, job, paths, question)
        done, _ = await asyncio.wait((answered,), timeout=self._patience)
        if not done:
            job.expire()
            raise self._too_long(names)
        try:
            return answered.result()
        except CassetteError:
            if job.expired:
                raise self._too_long(names) from None
            raise

    def close(self) -> None:
        """Close all that is open."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for _, browser in self._opened.values():
                browser.cassette.close()
            self._opened.clear()

    def _too_long(self, names: Sequence[str]) -> TookTooLong:
        return TookTooLong(
            f"reading {' and '.join(names)} took longer than {self._patience:g} s and was stopped: choose fewer"
            " exchanges, by model, endpoint or time"
        )

    def _answer(self, job: _Job, paths: Sequence[Path], question: Callable[[Sequence[CassetteBrowser]], T]) -> T:
        with ExitStack() as stack:
            browsers = [stack.enter_context(self._lent(path)) for path in paths]
            with job.on(browsers):
                return question(browsers)

    @contextmanager
    def _lent(self, path: Path) -> Iterator[CassetteBrowser]:
        if Path(f"{path}-wal").exists():
            with CassetteBrowser.open(path) as browser:
                yield browser
            return
        yield self._sealed(path)

    def _sealed(self, path: Path) -> CassetteBrowser:
        try:
            found = path.stat()
        except OSError as error:
            raise NotACassette(f"{path} cannot be opened: {error.strerror}") from error
        identity = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        with self._lock:
            held = self._opened.get(path)
            if held is not None and held[0] == identity:
                return held[1]
            browser = CassetteBrowser.open(path)
            self._opened[path] = identity, browser
            # What was there under this name, and the oldest of too many. A question that still runs on one of them
            # ends with an error that says that it was closed.
            dropped = [held[1]] if held is not None else []
            while len(self._opened) > MOST_OPEN:
                dropped.append(self._opened.pop(next(iter(self._opened)))[1])
        for old in dropped:
            old.cassette.close()
        return browser
