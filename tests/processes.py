"""`replayproxy record`, `replay` and `auto` as real processes on free ports, started and ended as a supervisor would.

    with recording(cassette, upstream) as proxy:      with replaying(cassette, "--speed", "1") as proxy:
        … proxy.url, proxy.admin_url, proxy.pid           …

Leaving the block sends SIGTERM and waits; `proxy.code` and `proxy.said` then tell how it went. Nothing sleeps: a proxy
that is ready says so on stderr, after it has written its ready file. Knows nothing of what goes through the proxy.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import orjson

from tests.forked import DEVNULL, PIPE, Forked, run

PROGRAM = (sys.executable, "-m", "replayproxy")

FORKS = False
"""Whether what follows forks instead of starting Python: `make test` does. What is live or measured is started."""

READY_PATIENCE = 30.0
"""Seconds for a start: an empty machine needs half a second."""

STOP_PATIENCE = 40.0
"""Seconds after SIGTERM: --drain is 25."""


class Proxy:
    """A running proxy."""

    def __init__(
        self,
        *arguments: str | Path,
        program: Sequence[str | Path] | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Start it, and wait until it is ready. Raises `AssertionError` with its words when it ends instead.

        `program` is what takes the arguments if it is not `replayproxy`; `variables` are added to its environment.
        """
        self._words: list[str] = []
        self._ready = threading.Event()
        with tempfile.TemporaryDirectory(prefix="replayproxy-") as folder:
            ready_file = Path(folder) / "ready.json"
            words = [*arguments, "--ready-file", ready_file]
            variables = {**environment(), "PYTHONFAULTHANDLER": "1", **variables}
            # Ctrl-C is for the test, which then ends its proxies; and Linux shares out CPUs by session.
            self.process: Forked | subprocess.Popen[str]
            if FORKS and program is None:
                self.process = Forked(
                    words, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=variables, start_new_session=True
                )
            else:
                self.process = subprocess.Popen(
                    [*(program or PROGRAM), *words],
                    stdin=DEVNULL,
                    stdout=DEVNULL,
                    stderr=PIPE,
                    env=variables,
                    text=True,
                    start_new_session=True,
                )
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
            came = self._ready.wait(READY_PATIENCE)
            if not came or not ready_file.exists():
                ended = self.process.poll()
                how = f"ended with {ended}" if ended is not None else f"was not ready after {READY_PATIENCE:g} s"
                self.process.send_signal(signal.SIGABRT)  # its last words say where it is
                self._wait()
                raise AssertionError(f"{' '.join(map(str, (*(program or PROGRAM), *arguments)))} {how}:\n{self.said}")
            said = orjson.loads(ready_file.read_bytes())
        self.url: str = said["url"]
        self.admin_url: str | None = said["admin_url"]
        self.pid: int = said["pid"]

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._words.append(line)
            if line.startswith(("replayproxy: http", "replayproxy: unix:")) or '"admin_url":' in line:
                self._ready.set()
        self._ready.set()

    @property
    def said(self) -> str:
        """What it has said on stderr so far; all of it once it has ended."""
        return "".join(self._words)

    @property
    def code(self) -> int:
        """Its exit code. It has ended."""
        assert self.process.returncode is not None, "it runs still"
        return self.process.returncode

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it in good order. Gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self._wait()

    def kill(self) -> None:
        """SIGKILL: it does not know."""
        self.process.kill()
        self._wait()

    def _wait(self) -> int:
        try:
            code = self.process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the proxy did not end within {STOP_PATIENCE:g} s:\n{self.said}") from None
        self._listener.join()
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code


@contextmanager
def running(
    *arguments: str | Path,
    program: Sequence[str | Path] | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Proxy]:
    """`replayproxy ARGUMENTS…` while the block runs."""
    proxy = Proxy(*arguments, program=program, variables=variables)
    try:
        yield proxy
    finally:
        proxy.stop()


@contextmanager
def recording(cassette: Path, upstream: str, *flags: str) -> Iterator[Proxy]:
    """A recorder on free ports while the block runs; afterwards the cassette is sealed."""
    with running(
        "record", cassette, "--upstream", upstream, "--port", "0", "--admin-port", "0", "--no-probe", *flags
    ) as proxy:
        yield proxy


@contextmanager
def replaying(cassette: Path, *flags: str) -> Iterator[Proxy]:
    """A replayer on free ports while the block runs. It is told of no upstream."""
    with running("replay", cassette, "--port", "0", "--admin-port", "0", *flags) as proxy:
        yield proxy


def replayproxy(*arguments: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """One verb to its end, its exit code unchecked."""
    if FORKS:
        return run(arguments, env=environment(), timeout=timeout)
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=timeout,
        check=False,
    )


def environment() -> dict[str, str]:
    """This process's environment without any REPLAYPROXY_*: a test runs the same wherever it is run."""
    return {name: value for name, value in os.environ.items() if not name.startswith("REPLAYPROXY_")}
