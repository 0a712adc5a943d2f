"""Report a run to GitHub Actions: error annotations in the log, and a table in the job's summary.

The words and their escapes are those of GitHub's page "Workflow commands for GitHub Actions". The runner reads them on
stderr as on stdout, and stdout belongs to the command.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from pathlib import Path

from replayproxy import output_files
from replayproxy.cli.judging.account import explanation, headline, outcomes_in_words
from replayproxy.core.visible import visible, visible_lines
from replayproxy.proxy.result import Cause, RunResult
from replayproxy.proxy.verdict import Verdict, answers_in_words

ANNOTATIONS = 10
"""Error annotations per step that GitHub shows."""

ROWS = 100
"""Causes in the table; GitHub accepts a summary of 1 MiB per step."""


def error_lines(report: RunResult, verdict: Verdict) -> Iterator[str]:
    """Yield lines for the log: the verdict of a failed run, and its first causes."""
    if verdict.passed:
        return
    yield _error(f"replayproxy: {verdict.word}", verdict.sentence)
    for cause in report.causes[: ANNOTATIONS - 1]:
        yield _error(f"replayproxy: {cause.miss.code} x{cause.times}, {headline(cause.miss)}", explanation(cause.miss))


def summary(report: RunResult, verdict: Verdict) -> str:
    """Return Markdown: the verdict, and a table of the causes."""
    how = "passed" if verdict.passed else f"failed ({verdict.word}, exit code {verdict.code})"
    lines = [
        f"### replayproxy {how}",
        "",
        _markdown(verdict.sentence),
        "",
        _markdown(f"{answers_in_words(report)}."),
        "",
    ]
    if report.causes:
        lines += ["| miss | times | why | request | what to do |", "|---|---:|---|---|---|"]
        lines += [_row(cause) for cause in report.causes[:ROWS]]
        lines += [f"| … | | | | {len(report.causes) - ROWS} more |"] if len(report.causes) > ROWS else []
        lines.append("")
    if report.faults:
        lines += ["| fault | times | what clients did |", "|---|---:|---|"]
        lines += [
            f"| {_markdown(fault.fault)} | {fault.injected} | {_markdown(outcomes_in_words(fault))} |"
            for fault in report.faults[:ROWS]
        ]
        lines.append("")
    if report.unused:
        lines += [f"{len(report.unused)} of {report.recordings} recordings were not used.", ""]
    return "\n".join(lines) + "\n"


def summary_file(variables: Mapping[str, str]) -> Path | None:
    """The file that GitHub names for the job's summary, if it names one."""
    name = variables.get("GITHUB_STEP_SUMMARY")
    return Path(name) if name else None


def append_summary(variables: Mapping[str, str], text: str) -> None:
    """Add to the file that GitHub names, if it names one. Raises `ReplayProxyError`."""
    if (path := summary_file(variables)) is not None:
        output_files.append(path, text.encode("utf-8", "backslashreplace"), "GITHUB_STEP_SUMMARY")


def _row(cause: Cause) -> str:
    miss = cause.miss
    cells = (cause.id, str(cause.times), miss.code, headline(miss), explanation(miss))
    return "| " + " | ".join(_markdown(cell) for cell in cells) + " |"


def _markdown(text: str) -> str:
    """Escape text so that Markdown shows it as it is, in one cell of a table."""
    safe = html.escape(visible_lines(text), quote=False)
    for mark in "\\|`*_[]~":
        safe = safe.replace(mark, f"\\{mark}")
    return safe.replace("@", "&#64;").replace("\n", "<br>")


def _error(title: str, message: str) -> str:
    escaped = _data(visible(title)).replace(":", "%3A").replace(",", "%2C")
    return f"::error title={escaped}::{_data(visible_lines(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
