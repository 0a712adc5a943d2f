"""Conclude a run of `replay` or `exec`: judge it, write report files, print the result, return the exit code.

Files are written before anything is printed, so that they exist even if stderr is closed.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from replayproxy import output_files
from replayproxy.cassette.file_digest import file_digests
from replayproxy.cli.judging import actions, receipt
from replayproxy.cli.judging.account import account, account_as_records
from replayproxy.cli.judging.junit import junit
from replayproxy.cli.judging.receipt import RunContext
from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.screen import on_stderr
from replayproxy.errors import ReplayProxyError, setting
from replayproxy.net.clock import SystemClock
from replayproxy.proxy.result import RunResult
from replayproxy.proxy.verdict import CommandResult, RunPolicy, Verdict, judge
from replayproxy.settings import Settings


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """Where the result of a run goes, and what it must fulfil."""

    demands: RunPolicy
    report: Path | None = None
    junit: Path | None = None


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is noted before a run: the time in ns since the Unix epoch, and SHA-256 by cassette."""

    started: int
    digests: dict[str, str]


def begin(settings: Settings, report_options: ReportOptions) -> RunStart:
    """Note the time, and the digests of the cassettes if there will be a report.

    Raises `SettingsError` if a file that `conclude` writes cannot be written.
    """
    files = (
        (setting("report"), report_options.report),
        (setting("junit"), report_options.junit),
        (setting("ready_file"), settings.listen.ready_file),
    )
    output_files.refuse_all(files, settings.played_cassettes)
    if on_github() and (summary := actions.summary_file(os.environ)) is not None:
        output_files.refuse_cassette(summary, "GITHUB_STEP_SUMMARY", settings.played_cassettes)
    return RunStart(_now(), file_digests(settings.cassettes) if report_options.report is not None else {})


def conclude(
    report: RunResult,
    settings: Settings,
    report_options: ReportOptions,
    before: RunStart,
    *,
    ended: CommandResult | None = None,
    trouble: str | None = None,
) -> int:
    """Judge and report a run that is over. Returns the exit code. `trouble`: why recording was degraded at its end."""
    report = replace(report, digests=before.digests)
    if ended is not None and not ended.code:
        report = replace(report, faults=tuple(fault.after_command() for fault in report.faults))
    verdict = judge(report, report_options.demands, ended=ended, trouble=trouble)
    now = _now()
    unwritten: list[ReplayProxyError] = []
    if report_options.report is not None:
        has_upstream = settings.upstream is not None or settings.pair is not None
        around = RunContext(before.started, now, upstream=has_upstream)
        document = receipt.to_json(receipt.report_document(report, verdict, around, ended))
        unwritten += _write(report_options.report, document, "--report", settings)
    if report_options.junit is not None:
        seconds = (now - before.started) / 1e9
        document = junit(report, verdict, report_options.demands, seconds=seconds, ended=ended)
        unwritten += _write(report_options.junit, document, "--junit", settings)
    # A closed stderr is not an error: files and exit code have the result.
    with suppress(OSError):
        if on_github() and not messages.is_json():
            _report_to_github(report, verdict)
        if messages.is_json():
            account_as_records(report, verdict)
        else:
            account(report, verdict, on_stderr())
            sys.stderr.flush()
        for error in unwritten:
            messages.error(str(error))
    return verdict.code or (1 if unwritten else 0)


def _write(path: Path, document: bytes, flag: str, settings: Settings) -> list[ReplayProxyError]:
    """Write a file. Returns the error, so that the other file and the result on stderr still come."""
    try:
        output_files.write(path, document, flag, settings.played_cassettes)
    except ReplayProxyError as error:
        return [error]
    return []


def on_github() -> bool:
    """Whether this process runs in GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _report_to_github(report: RunResult, verdict: Verdict) -> None:
    for line in actions.error_lines(report, verdict):
        on_stderr().line(line)
    try:
        actions.append_summary(os.environ, actions.summary(report, verdict))
    except ReplayProxyError as error:
        messages.error(str(error))


def _now() -> int:
    clock = SystemClock()
    try:
        return clock.today()
    finally:
        clock.close()
