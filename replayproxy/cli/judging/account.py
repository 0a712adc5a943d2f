"""Print what became of a run, on stderr: answers served, misses with their reasons, recordings that were not used.

Knows how it looks; what it means is decided in `verdict`. Equal misses are printed once, with a count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.screen import Screen, Span
from replayproxy.core.faults.conduct import NOT_INJECTED
from replayproxy.proxy.fault_result import FaultResult
from replayproxy.proxy.result import Cause, RecordingInfo, ReportedMiss, RunResult
from replayproxy.proxy.verdict import Verdict, answers_in_words
from replayproxy.views.miss import UNPLAYABLE, Miss
from replayproxy.views.units import duration, plural

UNUSED_SHOWN = 10

CLIENTS_SHOWN = 10
"""Faults of one text that are printed one by one."""

CAUSES_SHOWN = 50
"""Causes that are printed; the report file has all of them."""


def account(report: RunResult, verdict: Verdict, screen: Screen) -> None:
    """Print all of it; the last line gives the verdict and what to do now."""
    if screen.is_terminal:
        screen.line()  # below what the command has left there
    late = f", largest lateness {duration(report.lateness_max)}" if report.served else ""
    damaged = f", {plural(report.damaged, 'damaged recording')}" if report.damaged else ""
    screen.line(
        Span("replayproxy: ", "bold"),
        Span(f"{answers_in_words(report)}, {plural(report.misses, 'miss', 'misses')}{damaged}{late}"),
    )
    for cause in report.causes[:CAUSES_SHOWN]:
        _miss(cause, screen)
    if len(report.causes) > CAUSES_SHOWN:
        screen.line(f"… and {len(report.causes) - CAUSES_SHOWN} more causes; --report FILE has them all")
    if report.unexplained:
        screen.line(f"… and {plural(report.unexplained, 'miss', 'misses')} more, too many to explain each of them")
    for fault in report.faults:
        _fault(fault, screen)
    for carried in report.carried[:CAUSES_SHOWN]:
        screen.line(Span("CARRIED", "bold yellow"), f"  {carried.sentence}")
    if len(report.carried) > CAUSES_SHOWN:
        screen.line(f"… and {len(report.carried) - CAUSES_SHOWN} more carried ids; --report FILE has all of them")
    if report.unused and not report.vacuous:
        _unused(report, screen)
    style = "bold green" if verdict.passed else "bold red"
    how = "passed" if verdict.passed else f"failed, exit code {verdict.code}"
    screen.prose(Span(f"replayproxy {how}", style), f": {verdict.sentence}")


def account_as_records(report: RunResult, verdict: Verdict) -> None:
    """Log the same for `--log-format json`: one record per cause, one for the verdict."""
    for cause in report.causes[:CAUSES_SHOWN]:
        messages.warning(
            f"MISS {cause.id} x{cause.times} {cause.miss.code} {headline(cause.miss)}",
            miss=cause.id,
            times=cause.times,
            code=cause.miss.code,
            explanation=explanation(cause.miss),
        )
    if report.unused and not report.vacuous:
        messages.warning(
            f"{len(report.unused)} of {plural(report.recordings, 'recording')} were not used",
            unused=[recording.id for recording in report.unused[:UNUSED_SHOWN]],
        )
    for fault in report.faults:
        messages.warning(
            f"FAULT {fault.fault} x{fault.injected} {outcomes_in_words(fault)}",
            fault=fault.fault,
            injected=fault.injected,
            mishandled=fault.mishandled,
            outcomes={outcome.value: count for outcome, count in fault.outcomes.items()},
        )
    for carried in report.carried[:CAUSES_SHOWN]:
        messages.warning(f"CARRIED {carried.sentence}", **carried.document())
    log = messages.info if verdict.passed else messages.error
    log(
        verdict.sentence,
        verdict=verdict.word,
        exit_code=verdict.code,
        served=report.served,
        misses=report.misses,
        recorded=report.recorded,
        forwarded=report.forwarded,
        lateness_max_s=report.lateness_max,
    )


def explanation(miss: Miss | ReportedMiss) -> str:
    """Return the explanation of a miss; may have several lines."""
    return miss.explanation


def headline(miss: Miss | ReportedMiss) -> str:
    """Return method, path and scope of the request on one line."""
    scope = f"   scope {miss.scope}" if miss.scope else ""
    return f"{miss.method} {miss.path}{scope}"


def _miss(cause: Cause, screen: Screen) -> None:
    miss = cause.miss
    what = "DAMAGED" if miss.code == UNPLAYABLE else "MISS"
    screen.line(Span(f"{what} {cause.id}", "bold red"), f"  x{cause.times}   {miss.code}   {headline(miss)}")
    for line in explanation(miss).splitlines():
        screen.under(line)


def _fault(fault: FaultResult, screen: Screen) -> None:
    screen.line(Span("FAULT", "bold yellow"), f"  {fault.fault}  x{fault.injected}   {outcomes_in_words(fault)}")
    for client in fault.clients[:CLIENTS_SHOWN]:
        mark = Span("MISHANDLED", "bold red") if client.is_mishandled else Span("ok", "green")
        if client.outcome in NOT_INJECTED:
            mark = Span("not judged", "dim")
        scope = f"   scope {client.scope}" if client.scope else ""
        screen.line(f"  {client.id}  ", mark, f"  {client.method} {client.path}{scope}")
        screen.under(f"  {client.outcome}: {client.sentence}")
    if (more := sum(fault.outcomes.values()) - CLIENTS_SHOWN) > 0:
        screen.line(f"  … and {more} more of this fault; --report FILE lists the first of them")


def outcomes_in_words(fault: FaultResult) -> str:
    """Say how often each outcome."""
    return ", ".join(f"{outcome} {count}" for outcome, count in fault.outcomes.items())


def _unused(report: RunResult, screen: Screen) -> None:
    number = len(report.unused)
    screen.line(Span("UNUSED", "bold yellow"), f"  {number} of {plural(report.recordings, 'recording')} not used")
    for cassette, recordings in by_cassette(report.unused[:UNUSED_SHOWN]):
        screen.line(f"  {cassette}")
        for recording in recordings:
            screen.line(f"    {recording.id}  {recording.method} {recording.path}")
    if number > UNUSED_SHOWN:
        screen.line(f"    … and {number - UNUSED_SHOWN} more")


def by_cassette(recordings: Iterable[RecordingInfo]) -> Iterator[tuple[str, Iterator[RecordingInfo]]]:
    """Group recordings, which are in the order of their cassettes."""
    return groupby(recordings, key=lambda recording: recording.cassette)
