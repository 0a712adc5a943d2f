"""Signals to a process that serves: which end it in good order, and which say nothing to it."""

from __future__ import annotations

import fcntl
import http.client
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from replayproxy.cassette.reader import CassetteReader
from replayproxy.lifetime import Stops
from replayproxy.model import Ending
from tests.cli.commands import tape
from tests.processes import PROGRAM, environment, running

PATIENCE = 60.0
"""Seconds for what takes one on an idle machine."""

SLOW = ("--model", "tiny", "--ttft", "100ms", "--itl", "100ms")
"""A stream of two seconds, so that a signal comes into its midst."""


class OnTerminal:
    """A command as the foreground of a terminal of its own; `hang_up` closes the window."""

    def __init__(self, *command: str | Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*map(str, command)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  it calls the kernel alone
        )
        os.close(theirs)

    def until(self, word: bytes) -> bytes:
        """What was printed until this word."""
        said = b""
        while word not in said:
            said += os.read(self._ours, 4096)  # EIO where it has ended without the word
        return said

    def hang_up(self) -> None:
        """The terminal goes away: the kernel sends SIGHUP."""
        os.close(self._ours)

    def end(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)


@contextmanager
def asking(url: str, **more: int) -> Iterator[list[bytes]]:
    """A stream, asked for in a thread; inside the block it has begun, behind it the list holds all of it."""
    got: list[bytes] = []
    begun = threading.Event()

    def ask() -> None:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "stream": True, **more}
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
        connection.request("POST", "/v1/chat/completions", orjson.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        while data := answer.read1():
            got.append(data)
            begun.set()
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    assert begun.wait(PATIENCE)
    yield got
    thread.join()


def sealed(cassette: Path) -> list[Ending]:
    """How the exchanges on it ended; it was sealed, and nothing lies beside it."""
    assert sorted(path.name for path in cassette.parent.glob(f"{cassette.name}*")) == [cassette.name]
    with CassetteReader(cassette) as opened:
        numbers = opened.all("SELECT id FROM exchange")
        return [opened.exchange(number).response.ending for (number,) in numbers]


def test_a_terminal_that_goes_away_drains_and_seals(tmp_path: Path) -> None:
    """As SIGTERM does: the stream goes on to its end, for the client and on the cassette. A second one is no haste."""
    cassette, ready = tmp_path / "a.cassette", tmp_path / "ready.json"
    with running("simulate", "--port", "0", *SLOW) as server:
        flags = ("--port", "0", "--admin-port", "off", "--ready-file", ready)
        recorder = OnTerminal(*PROGRAM, "record", cassette, "--upstream", server.url, *flags)
        recorder.until(b"recording http")
        with asking(orjson.loads(ready.read_bytes())["url"], max_tokens=20) as got:
            recorder.hang_up()
            recorder.process.send_signal(signal.SIGHUP)
        assert recorder.end() == 0
    assert b"".join(got).rstrip().endswith(b"data: [DONE]")
    assert sealed(cassette) == [Ending.COMPLETE]
    assert not ready.exists()


def test_so_it_does_for_a_replay_and_a_simulator(tmp_path: Path) -> None:
    """Every verb that serves."""
    cassette = tape(tmp_path / "a.cassette", "hello")
    for verb in (("replay", cassette), ("simulate",)):
        proxy = OnTerminal(*PROGRAM, *verb, "--port", "0", "--admin-port", "off")
        proxy.until(b"http://")
        proxy.hang_up()
        assert proxy.end() == 0


HUP, INT, TERM = signal.SIGHUP, signal.SIGINT, signal.SIGTERM


@pytest.mark.parametrize(
    ("came", "hurried"),
    [
        ((HUP,), False),
        ((HUP, HUP, HUP), False),
        ((INT, HUP), False),
        ((TERM, TERM), True),
        ((HUP, INT), True),
        ((INT, HUP, TERM), True),
    ],
)
def test_the_second_signal_is_haste_unless_it_is_sighup(came: tuple[signal.Signals, ...], hurried: bool) -> None:
    """The kernel and the shell each send SIGHUP when a window closes; the streams in flight still get their time."""
    stops = Stops()
    for number in came:
        stops.receive(number)
    assert (stops.first.is_set(), stops.second.is_set()) == (True, hurried)


SAYS_NOTHING = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def test_without_a_terminal_they_say_nothing(tmp_path: Path) -> None:
    """A service, a container: logrotate and habit send them, and the stream in flight goes on. SIGTERM ends it."""
    cassette = tmp_path / "a.cassette"
    with (
        running("simulate", "--port", "0", *SLOW) as server,
        running("record", cassette, "--upstream", server.url, "--port", "0", "--admin-port", "off") as recorder,
    ):
        with asking(recorder.url, max_tokens=20) as got:
            for number in (*SAYS_NOTHING, *SAYS_NOTHING):
                recorder.process.send_signal(number)
        with asking(recorder.url, max_tokens=2):
            pass
        assert recorder.process.poll() is None
    assert b"".join(got).rstrip().endswith(b"data: [DONE]")
    assert (recorder.code, sealed(cassette)) == (0, [Ending.COMPLETE] * 2)


def test_nohup_is_obeyed_on_a_terminal(tmp_path: Path) -> None:
    """Who has said that a terminal's end is nothing to us is believed."""
    program = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    ready = tmp_path / "ready.json"
    cassette = tape(tmp_path / "a.cassette", "hello")
    flags = ("--port", "0", "--admin-port", "off", "--ready-file", str(ready))
    proxy = OnTerminal(sys.executable, "-c", program, *PROGRAM, "replay", cassette, *flags)
    proxy.until(b"replaying")
    proxy.hang_up()
    proxy.process.send_signal(signal.SIGUSR1)
    with asking(orjson.loads(ready.read_bytes())["url"]) as got:
        pass
    assert b"".join(got)
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.end() == 0


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
def test_exec_passes_them_to_its_command_once(tmp_path: Path, number: signal.Signals) -> None:
    """What they mean is the command's to say; before and behind it they say nothing. No recording is lost for them."""
    cassette = tape(tmp_path / "a.cassette", "hello")
    program = f"""
import os, signal
expected = [{int(number)}, signal.SIGTERM]
signal.pthread_sigmask(signal.SIG_BLOCK, expected)  # they wait for sigwait, so that none comes between look and wait
print(os.getppid(), flush=True)
received = []
while signal.SIGTERM not in received:
    received.append(signal.sigwait(expected))
print(received.count({int(number)}), flush=True)
"""
    with subprocess.Popen(
        [*PROGRAM, "exec", str(cassette), "--allow-empty", "--", sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "1\n")
