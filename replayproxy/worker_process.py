"""A process beside this one that does heavy work, one piece after the other: `WorkerProcess`, and what runs in it.

A parser that holds the interpreter's lock for a second in a thread stops the event loop all the same; in a process of
its own it does not. Jobs are functions of `replayproxy.core` with values as arguments, so the process has no state, may
die or be ended at any time, and knows nothing of sockets and cassettes. It starts with the first job, and ends when its
pipe is closed, which also happens when we are killed.

    event loop ──run──▶ thread that waits ──pickle over a pipe──▶ python -m replayproxy.worker_process
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle  # noqa: TID251  between two processes of ours, over a pipe that only they have
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import IO, Any, TypeVar, cast

from replayproxy.model import Request

T = TypeVar("T")

log = logging.getLogger("replayproxy")

KEPT_AFTER = 4 * 1024 * 1024
"""Bytes of a job beyond which the process is ended behind it: what 20 MB of JSON took would never be given back."""

NICE = 5
"""Streams are paced by the event loop: where there is one core for both, it comes first."""

_SIZES = struct.Struct("<QQ")
_SIZE = struct.Struct("<Q")


class _Lost(Exception):
    """The process is gone, or never came."""


class WorkerProcess:
    """Runs functions in another process; where there can be none, in a thread. `close` it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = asyncio.Lock()
        self._talking = threading.Lock()
        """The caller may have been cancelled while its thread still uses the pipe."""
        self._closed = False
        self._warned = False

    def __repr__(self) -> str:
        return f"<WorkerProcess: {'closed' if self._closed else 'idle' if self._process is None else 'started'}>"

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Call a function of a module there; it and its arguments can be pickled. Raises what it raises."""
        async with self._turn:  # a thread for the one that has its turn, not for each that waits
            try:
                return cast("T", await asyncio.to_thread(self._call, work, arguments))
            except _Lost as error:
                if self._closed:
                    raise asyncio.CancelledError from error
                if not self._warned:
                    self._warned = True
                    log.warning("long requests are compared in this process, and hold it up: %s", error)
                return await asyncio.to_thread(work, *arguments)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
        with self._talking:
            self._end()

    # In the thread that waits

    def _call(self, work: Callable[..., T], arguments: tuple[object, ...]) -> object:
        with self._talking:
            try:
                process = self._started()
                assert process.stdin is not None
                assert process.stdout is not None
                sent = _write(process.stdin, (work, arguments))
                failure, value = _read(process.stdout)
            except (OSError, EOFError) as error:
                self._end()
                raise _Lost(f"the process for heavy work has ended ({error!r})") from error
            if sent > KEPT_AFTER:
                self._end()
        if failure is not None:
            raise failure
        return value

    def _started(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise EOFError("closed")
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,  # Ctrl-C is for us
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        process.wait()


class _Pickler(pickle.Pickler):
    """Bodies of requests are not copied into the pickle."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is Request and self.with_buffers:
            return Request, (value.method, value.target, value.headers, pickle.PickleBuffer(value.body))
        return NotImplemented

    with_buffers = True


def _write(pipe: IO[bytes], value: object) -> int:
    """Give the bytes that were written: those of the pickle, and of each body behind it."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = BytesIO()
    _Pickler(pickled, 5, buffer_callback=buffers.append).dump(value)
    parts = [pickled.getbuffer(), *(buffer.raw() for buffer in buffers)]
    pipe.write(_SIZES.pack(len(parts[0]), len(buffers)) + b"".join(_SIZE.pack(len(part)) for part in parts[1:]))
    for part in parts:
        pipe.write(part)
    pipe.flush()
    return sum(map(len, parts))


def _read(pipe: IO[bytes]) -> Any:
    size, count = _SIZES.unpack(_exactly(pipe, _SIZES.size))
    sizes = [_SIZE.unpack(_exactly(pipe, _SIZE.size))[0] for _ in range(count)]
    pickled = _exactly(pipe, size)
    return pickle.loads(pickled, buffers=[_exactly(pipe, one) for one in sizes])  # noqa: S301  see the import


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


# In the other process


def main() -> None:
    """Do what is asked until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the process that started us ends us
    os.nice(NICE)
    gc.disable()  # a parsed body has no cycles, and to look for them in ten million lists takes longer than to parse
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a stray print must not be taken for an answer
    with suppress(OSError, EOFError):
        while True:
            work, arguments = _read(jobs)
            failure = value = None
            try:
                value = work(*arguments)
            except Exception as error:  # noqa: BLE001  raised again by who asked
                failure = error
            work = arguments = None
            _write(answers, (failure, value))
    os._exit(0)  # nothing is to be given back one by one


if __name__ == "__main__":
    main()
