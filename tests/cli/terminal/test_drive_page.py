"""The pages of `drive`: the result, the live table, and the lines of a log."""

from __future__ import annotations

import asyncio
import io

import pytest

from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.drive_page import drive_display, result_page
from replayproxy.cli.terminal.screen import Screen
from replayproxy.drive.results import summary_of
from tests.doubles.driving import MS, Drove, drove, streamed_text, turn


def run() -> Drove:
    """Two requests, of which one was answered in other times than recorded."""
    turns = [turn(1, 0, 20, ttft=5 * MS, tpot=5 * MS), turn(2, 100, 20, status=500)]
    return asyncio.run(drove(turns, streamed_text("a b c", usage=(5, 3))))


def test_the_result() -> None:
    """Outcomes, lateness, times as recorded and now, verdict."""
    stream = io.StringIO()
    found = run()
    summary = summary_of(found.driver.results, most_in_flight=1, interrupted=False, lost=0, bound=MS)
    result_page(summary, Screen(stream))
    assert stream.getvalue().splitlines() == [
        "requests   2 planned: 2 ok",
        "run        140 ms, 1 in flight at most, 6 output tokens",
        "lateness   p50 0 ms, p99 0 ms, max 0 ms; connect and write p99 0 ms",
        "time      recorded p50  recorded p95  now p50  now p95  ratio of p50  answers",
        "TTFT            5.0 ms        5.0 ms  15.0 ms  15.0 ms         3.000        1",
        "TPOT            5.0 ms        5.0 ms   5.0 ms   5.0 ms         1.000        1",
        "Total          20.0 ms       20.0 ms  40.0 ms  40.0 ms         2.000        1",
        "Mean gap             -             -   5.0 ms   5.0 ms             -        1",
        "exit 0 (every request was sent and answered)",
    ]


def test_where_nobody_watches_a_line_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """Every ten seconds and not before; the name of a run is made visible."""
    now = [0]
    found = run()
    with messages.speaking("text"), drive_display(lambda: now[0], is_terminal=False) as display:
        display.update(found.driver, 2, "")
        now[0] = 10_000_000_000
        display.update(found.driver, 2, "run 1: ")
        display.update(found.driver, 2, "")
    assert capsys.readouterr().err.count("run 1: 2 of 2 requests done, 0 in flight, 0 failed") == 1


def test_a_terminal_gets_a_table_that_vanishes(capsys: pytest.CaptureFixture[str]) -> None:
    """With rates and percentiles."""
    found = run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("TERM", "xterm-256color")
        with drive_display(lambda: 0, is_terminal=True) as display:
            display.update(found.driver, 2, "\x1b[31mred")
    shown = capsys.readouterr().err
    assert "in flight" in shown
    assert "\x1b[31mred" not in shown
