"""Decide whether a run passed: one pure table from its result to a word, a sentence and an exit code.

The failure of the command comes first, because it is what the user ran; then whatever makes a green run worthless.
Does not know terminals or files.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from replayproxy.proxy.result import RunResult
from replayproxy.views.units import plural


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How the command of `exec` ended. `code` is what a shell reports: 128 + n if signal n killed it."""

    command: tuple[str, ...]
    code: int
    signal: str | None = None
    trouble: str | None = None
    """Why it could not be started, as a sentence; None if it was started."""

    @property
    def sentence(self) -> str:
        """Say how it ended."""
        if self.trouble is not None:
            return self.trouble
        name = visible_command(self.command)
        if self.signal is not None:
            return f"`{name}` was killed by {self.signal}"
        return f"`{name}` ended with exit code {self.code}"


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """What a run must fulfil. `must_serve`: a run without a request fails, as a test that sends none proves nothing."""

    fail_unused: bool = False
    must_serve: bool = False
    assert_resilient: bool = False
    """Whether a client must handle each injected fault well, and at least one must have been injected."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`word` is one of passed, child, damaged, degraded, misses, vacuous, mishandled, unused."""

    word: str
    code: int
    sentence: str

    @property
    def passed(self) -> bool:
        """Whether the exit code is 0."""
        return self.code == 0


def judge(
    report: RunResult, demands: RunPolicy, *, ended: CommandResult | None = None, trouble: str | None = None
) -> Verdict:
    """Apply the table. `trouble` is why recording was degraded when the run ended."""
    missed = f"{plural(report.misses, 'request')} had no recording"
    damaged = f"{plural(report.damaged, 'request')} had a recording that is damaged"
    unused = f"{len(report.unused)} of {plural(report.recordings, 'recording')} were not used"
    if ended is not None and ended.code:
        also = f", and {missed}: look at those first" if report.misses else ""
        also = f", and {damaged}: look at those first" if report.damaged else also
        also = also or (f", and {report.damage}" if report.damage else "")
        return Verdict("child", ended.code, ended.sentence + also)
    if report.damaged:
        return Verdict(
            "damaged",
            6,
            f"{damaged}: restore the cassette from a copy, or record again what `replayproxy verify` names",
        )
    # Recordings that could be read do not prove that the others can.
    if report.damage:
        return Verdict("damaged", 6, report.damage)
    if trouble is not None:
        return Verdict("degraded", 1, f"recording was degraded at the end: {trouble}")
    if report.misses:
        return Verdict(
            "misses",
            3,
            f"{missed}: record what is missing with --on-miss record --upstream URL, or undo what changed them",
        )
    if demands.must_serve and report.vacuous:
        return Verdict(
            "vacuous",
            7,
            "nothing was served, so nothing was tested: let the client use OPENAI_BASE_URL or REPLAYPROXY_URL, or add"
            " --allow-empty if no request is expected",
        )
    if demands.assert_resilient and (report.mishandled or not report.injected):
        return _about_faults(report)
    if demands.fail_unused and report.unused:
        return Verdict(
            "unused",
            4,
            f"{unused}: delete them with `replayproxy prune CASSETTE --unused REPORT`, where REPORT was written by"
            " --report; or leave out --fail-unused",
        )
    faults = f", {plural(report.injected, 'fault')} injected" if report.faults else ""
    fresh = len({(carried.scope, carried.fresh) for carried in report.carried})
    carried = f", {plural(fresh, 'fresh id')} carried" if fresh else ""
    return Verdict("passed", 0, f"{answers_in_words(report)}, no misses{faults}{carried}")


def _about_faults(report: RunResult) -> Verdict:
    """The verdict of `--assert-resilient` on a run that has not passed it."""
    if not report.injected:
        return Verdict(
            "vacuous",
            7,
            "no fault was injected, so nothing was tested: give --fail, with a position that the answers reach, and"
            " a path, model or rate that the requests fit",
        )
    client = next((one for fault in report.faults for one in fault.clients if one.is_mishandled), None)
    first = f"; the first: after {client.fault} it {client.sentence}" if client is not None else ""
    return Verdict(
        "mishandled", 8, f"the client mishandled {report.mishandled} of {plural(report.injected, 'fault')}{first}"
    )


def answers_in_words(report: RunResult) -> str:
    """Say in one phrase how requests were answered."""
    counts = (
        (report.forwarded, "forwarded"),
        (report.recorded, "recorded"),
        (report.dropped, "dropped because the write queue was full"),
        (report.simulated, "simulated"),
    )
    more = [f"{number} {what}" for number, what in counts if number]
    return ", ".join([f"{plural(report.served, 'answer')} from recordings", *more])


def visible_command(command: tuple[str, ...]) -> str:
    """Return a command as it is typed, on one line of at most 80 characters."""
    line = shlex.join(command)
    return line if len(line) <= 80 else line[:79] + "…"
