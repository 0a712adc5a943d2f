"""The end of a run: judge it, write what was asked for, tell people, give the exit code. `replay` and `exec` share it.

Files come before the screen: whoever reads them must find them also when nobody watches any more.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from replayproxy import output_files
from replayproxy.assembly import App
from replayproxy.cli.judging import actions, receipt
from replayproxy.cli.judging.account import account, account_as_records
from replayproxy.cli.judging.junit import junit
from replayproxy.cli.judging.receipt import RunContext
from replayproxy.cli.judging.verdict import CommandResult, RunPolicy, Verdict, judge
from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.screen import on_stderr
from replayproxy.errors import ReplayProxyError
from replayproxy.net.clock import SystemClock
from replayproxy.proxy.result import RunResult
from replayproxy.settings import Settings


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What is to become of the run's report."""

    demands: RunPolicy
    report: Path | None = None
    junit: Path | None = None


@dataclass(frozen=True, slots=True)
class RunStart:
    """What must be known before the run begins."""

    started: int
    digests: dict[str, str]


def begin(settings: Settings, wanted: ReportOptions) -> RunStart:
    """Look at the clock, and at the cassettes where a report wants to name them.

    Raises `SettingsError` where a file cannot be written that the end of the run is to write.
    """
    files = (("--report", wanted.report), ("--junit", wanted.junit), ("--ready-file", settings.listen.ready_file))
    output_files.refuse_all(files, settings.shelf)
    if on_github() and (summary := actions.summary_file(os.environ)) is not None:
        output_files.refuse_cassette(summary, "GITHUB_STEP_SUMMARY", settings.shelf)
    return RunStart(_today(), receipt.digests(settings.cassettes) if wanted.report is not None else {})


def conclude(app: App, wanted: ReportOptions, before: RunStart, ended: CommandResult | None = None) -> int:
    """Say what became of a run that is over. Gives the exit code."""
    report = app.last_report if app.last_report is not None else app.report()
    verdict = judge(report, wanted.demands, ended=ended, trouble=app.trouble)
    now = _today()
    unwritten: list[ReplayProxyError] = []
    if wanted.report is not None:
        around = RunContext(before.started, now, before.digests, upstream=app.upstream is not None)
        document = receipt.spelled(receipt.receipt(report, verdict, around, ended))
        unwritten += _written(wanted.report, document, "--report", app)
    if wanted.junit is not None:
        seconds = (now - before.started) / 1e9
        document = junit(report, verdict, wanted.demands, seconds=seconds, ended=ended)
        unwritten += _written(wanted.junit, document, "--junit", app)
    with suppress(OSError):  # nobody reads stderr any more: the files and the exit code say it all
        if on_github() and not messages.is_json():
            _tell_github(report, verdict)
        if messages.is_json():
            account_as_records(report, verdict)
        else:
            account(report, verdict, on_stderr())
            sys.stderr.flush()
        for error in unwritten:
            messages.error(str(error))
    return verdict.code or (1 if unwritten else 0)


def _written(path: Path, document: bytes, flag: str, app: App) -> list[ReplayProxyError]:
    """Write a file. Gives why it could not be: one that cannot be written keeps neither the other nor the account."""
    try:
        output_files.write(path, document, flag, app.settings.shelf)
    except ReplayProxyError as error:
        return [error]
    return []


def on_github() -> bool:
    """Whether GitHub Actions runs us."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _tell_github(report: RunResult, verdict: Verdict) -> None:
    for line in actions.error_lines(report, verdict):
        on_stderr().line(line)
    try:
        actions.append_summary(os.environ, actions.summary(report, verdict))
    except ReplayProxyError as error:
        messages.error(str(error))


def _today() -> int:
    clock = SystemClock()
    try:
        return clock.today()
    finally:
        clock.close()
