"""`replayproxy` in a process of its own without the half second of imports: forked from a process that has them.

    process = Forked(["ls", path], stdout=PIPE, …)        as subprocess.Popen; ran = run(["ls", path])

A test process starts one server (`tests/forked_server.py`) at its first call: it has imported the package, has one
thread and no loop. What it forks is a process as any other, with a pid, streams, an environment, signals and an exit
code of its own. Only how Python itself starts and ends is left out: a test about imports, about interpreter flags, or
about what an interpreter does when it ends starts `processes.PROGRAM`.
"""

from __future__ import annotations

import array
import atexit
import io
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.forked_server import NUMBER

PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT


@cache
def _server() -> Path:
    """Where the server listens. It ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="replayproxy-"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen(64)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked_server", str(listener.fileno())],
            stdin=PIPE,
            stdout=DEVNULL,
            pass_fds=[listener.fileno()],
            cwd=Path(__file__).parents[1],
            start_new_session=True,  # Ctrl-C is for the tests; it ends with their process
        )

    def end() -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()

    atexit.register(end)
    return folder / "s"


@cache
def on_path() -> Path:
    """A folder for PATH with a `replayproxy` for scripts: the one that is forked."""
    client = Path(__file__).with_name("forked_client.py")
    program = _server().with_name("replayproxy")
    words = shlex.join([sys.executable, "-I", "-S", str(client), str(_server())])
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    return program.parent


class Forked:
    """A running `replayproxy`. Has what the tests use of `subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        env: Mapping[str, str] | None = None,
        start_new_session: bool = False,
    ) -> None:
        self.args = ["replayproxy", *map(str, arguments)]
        self.returncode: int | None = None
        self._lock = threading.Lock()
        ours: list[IO[bytes] | None] = []
        theirs: list[int] = []
        opened: list[int] = []
        for number, given in enumerate((stdin, stdout, stderr)):
            pipe = None
            if given == PIPE:
                reading, writing = os.pipe()
                child, here = (reading, writing) if number == 0 else (writing, reading)
                pipe = os.fdopen(here, "rb" if number else "wb")
                opened.append(child)
            elif given == DEVNULL:
                child = os.open(os.devnull, os.O_RDWR)
                opened.append(child)
            elif given == STDOUT:
                child = theirs[1]
            else:
                child = number if given is None else given
            ours.append(pipe)
            theirs.append(child)
        self.stdin, self.stdout, self.stderr = [_text(each) for each in ours]
        call = {
            "arguments": self.args[1:],
            "folder": str(Path.cwd()),
            "variables": dict(os.environ if env is None else env),
            "own_session": start_new_session,
        }
        text = json.dumps(call).encode()
        self._server = socket.socket(socket.AF_UNIX)
        try:
            self._server.connect(str(_server()))
            socket.send_fds(self._server, [array.array(NUMBER, [len(text)]).tobytes()], theirs)
            self._server.sendall(text)
        finally:
            for number in opened:
                os.close(number)
        self.pid = self._number()

    def _number(self) -> int:
        answer = self._server.recv(array.array(NUMBER).itemsize)
        assert answer, "the server that forks has ended"
        return array.array(NUMBER, answer)[0]

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; `None` while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises `subprocess.TimeoutExpired`."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._server], [], [], timeout)[0]:
                self.returncode = self._number()
                self._server.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)


def _text(pipe: IO[bytes] | None) -> io.TextIOWrapper | None:
    return None if pipe is None else io.TextIOWrapper(pipe, "utf-8", write_through=True)


def run(
    arguments: Sequence[str | Path], *, stdin: str = "", timeout: float = 60, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One call to its end, its exit code unchecked. Raises `subprocess.TimeoutExpired`."""
    process = Forked(arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=env)
    read: dict[str, str] = {}

    def follow(name: str, stream: Any) -> None:
        with stream:
            read[name] = stream.read()

    streams = {"out": process.stdout, "err": process.stderr}
    threads = [threading.Thread(target=follow, args=each, daemon=True) for each in streams.items()]
    for thread in threads:
        thread.start()
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(stdin)
    try:
        process.wait(timeout)
    finally:
        process.kill()
        process.wait()
        for thread in threads:
            thread.join(timeout)
    return subprocess.CompletedProcess(process.args, process.wait(), read["out"], read["err"])
