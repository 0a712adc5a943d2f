"""Lines are written in a thread: nobody waits for a terminal that is paused, and what does not fit is counted."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from replayproxy.cli import access_log
from replayproxy.cli.access_log import AccessLog
from replayproxy.cli.terminal import messages
from replayproxy.views.access import AccessEntry, Outcome

HEALTH = AccessEntry(0, "GET", "/health", Outcome.ANSWERED, 200, 0.001)


class PausedTerminal(io.StringIO):
    """A stream whose first write waits until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting, self.goes_on = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        """Wait, then take it."""
        self.waiting.set()
        assert self.goes_on.wait(30)
        return super().write(text)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a terminal has one
        """As most have."""
        return "utf-8"


def test_what_waits_at_the_end_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the requests."""
    with AccessLog() as log:
        for number in range(50):
            log.add(AccessEntry(0, "GET", f"/{number}", Outcome.ANSWERED, 200, 0.001))
    assert [line.split()[2] for line in capsys.readouterr().err.splitlines()] == [f"/{number}" for number in range(50)]


def test_a_paused_terminal_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """`add` returns at once; lines that find no room are left out, and their number is told later."""
    monkeypatch.setattr(access_log, "MOST_WAITING", 3)
    terminal = PausedTerminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with messages.speaking("text"), AccessLog() as log:
        log.add(HEALTH)
        assert terminal.waiting.wait(30)
        for _ in range(8):
            log.add(HEALTH)
        terminal.goes_on.set()
    lines = terminal.getvalue().splitlines()
    assert sum("/health" in line for line in lines) == 4
    assert [line for line in lines if "/health" not in line] == [
        "replayproxy: stderr took lines too slowly: 5 lines of the access log left out"
    ]


def test_a_terminal_that_went_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic goes on."""
    closed = PausedTerminal()
    closed.goes_on.set()
    monkeypatch.setattr(sys, "stderr", closed)
    with AccessLog() as log:
        closed.close()
        log.add(HEALTH)
        log.add(HEALTH)
    assert not log._thread.is_alive()
