"""Counts the source files through which one live request runs: recorded, then replayed, each on a warm proxy.

    python -m tools.request_files

A request is sent to a proxy in this process, whose functions are traced; the server is `replayproxy simulate` in
another process. The first request of a proxy is not counted: it builds what the later ones share. The second is the one
that a reader of the code follows. Prints the files in the order in which they are entered first.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import FrameType

import replayproxy
from replayproxy import record, replay

PACKAGE = Path(replayproxy.__file__).parent
BODY = b'{"model":"demo","stream":true,"max_tokens":20,"messages":[{"role":"user","content":"Why is the sky blue?"}]}'


class FileTrace:
    """Notes the files of the package in which functions are called while `is_on`."""

    def __init__(self) -> None:
        self.is_on = False
        self._files: dict[str, None] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Called by the interpreter for each call and return."""
        # A comprehension or a class body is no step of its own; its file is entered by the function around it.
        if self.is_on and event == "call":
            self._files[frame.f_code.co_filename] = None

    @property
    def files(self) -> list[str]:
        """Paths within the package, in the order in which they were entered first."""
        paths = [Path(name) for name in self._files]
        return [path.relative_to(PACKAGE).as_posix() for path in paths if path.is_relative_to(PACKAGE)]


@contextmanager
def simulated_server() -> Iterator[str]:
    """The URL of a simulated vLLM in a process of its own."""
    command = [sys.executable, "-m", "replayproxy", "simulate", "--port", "0", "--model", "demo"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"}) as server:
        assert server.stderr is not None
        try:
            for line in server.stderr:
                if (found := re.search(r"http://127\.0\.0\.1:\d+", line)) is not None:
                    break
            else:
                raise SystemExit("the simulated server did not start")
            threading.Thread(target=server.stderr.read, daemon=True).start()
            yield found[0]
        finally:
            server.terminate()


def send(url: str) -> bytes:
    """One streamed chat."""
    with closing(HTTPConnection(url.removeprefix("http://"))) as connection:
        connection.request("POST", "/v1/chat/completions", BODY, {"Content-Type": "application/json"})
        return connection.getresponse().read()


def recorded_files(upstream: str, cassette: Path) -> list[str]:
    """The files of one recorded request, until it is on the cassette."""
    trace = FileTrace()
    threading.setprofile(trace)  # for the threads that are started from here on: that of the proxy, and its own
    try:
        with record(cassette, upstream=upstream) as server:
            send(server.url)
            wait_until_written(cassette, 1)
            trace.is_on = True
            send(server.url)
            wait_until_written(cassette, 2)
            trace.is_on = False
    finally:
        threading.setprofile(None)
    return trace.files


def wait_until_written(cassette: Path, count: int) -> None:
    """Wait until so many exchanges are on the cassette. Asks SQLite, so that nothing of the package runs for it."""
    pause = threading.Event()
    with closing(sqlite3.connect(f"file:{cassette}?mode=ro", uri=True)) as connection:
        while connection.execute("SELECT count(*) FROM exchange WHERE state = 1").fetchone()[0] < count:
            pause.wait(0.05)


def replayed_files(cassette: Path) -> list[str]:
    """The files of one request that a recording answers, with the recorded times."""
    trace = FileTrace()
    threading.setprofile(trace)
    try:
        with replay(cassette, speed=1) as server:
            send(server.url)
            trace.is_on = True
            send(server.url)
            trace.is_on = False
    finally:
        threading.setprofile(None)
    return trace.files


def main() -> None:
    """Print both lists with their lengths."""
    with tempfile.TemporaryDirectory() as folder, simulated_server() as upstream:
        cassette = Path(folder) / "one.cassette"
        for verb, files in (("record", recorded_files(upstream, cassette)), ("replay", replayed_files(cassette))):
            print(f"{verb}: {len(files)} files")
            for file in files:
                print(f"  {file}")


if __name__ == "__main__":
    main()
