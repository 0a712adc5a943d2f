"""Tests of `cli/terminal/progress`: nothing for a second, then a bar that vanishes, or a line every ten seconds."""

from __future__ import annotations

import pytest

from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.progress import progress


class Clock:
    """Moves when it is set."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        """The time, in ns."""
        return self.ns

    def pass_(self, seconds: float) -> None:
        """Let time go by."""
        self.ns += round(seconds * 1e9)


def test_a_log_gets_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """Not for each call, and none in the first ten seconds."""
    clock = Clock()
    with messages.speaking("text"), progress(clock, is_terminal=False) as watch:
        for done in range(1, 26):
            clock.pass_(1)
            watch("exchanges read", done * 1000, 25_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "replayproxy: exchanges read: 10\u2009000 of 25\u2009000",
        "replayproxy: exchanges read: 20\u2009000 of 25\u2009000",
    ]


def test_a_terminal_gets_a_bar_after_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what is done and how much of it; the cursor is shown again at the end."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("TERM", "xterm-256color")
        with progress(clock, is_terminal=True) as watch:
            watch("exchanges read", 1, 4)
            assert capsys.readouterr().err == ""
            clock.pass_(1.5)
            watch("exchanges read", 2, 4)
            watch("streams read", 1, 9)
    said = capsys.readouterr().err
    assert "streams read" in said
    assert "1/9" in said
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l")
