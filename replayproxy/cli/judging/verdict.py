"""Whether a run was good: one pure table from what happened to a word, a sentence and an exit code.

A command's own failure wins, because it is what the user ran; then come the things that make a green run worthless.
Knows no screen and no file.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from replayproxy.proxy.result import RunResult
from replayproxy.views.units import plural


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How the command of `exec` ended. `code` as a shell has it: 128 + n where signal n killed it."""

    command: tuple[str, ...]
    code: int
    signal: str | None = None
    trouble: str | None = None
    """Why it could not be started, as a sentence."""

    @property
    def sentence(self) -> str:
        """What became of it."""
        if self.trouble is not None:
            return self.trouble
        name = visible_command(self.command)
        if self.signal is not None:
            return f"`{name}` was killed by {self.signal}"
        return f"`{name}` ended with exit code {self.code}"


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """What a run must fulfil. A server that nobody asked has not failed; a test that asked nothing has."""

    fail_unused: bool = False
    must_serve: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """`word` is one of passed, child, damaged, degraded, misses, vacuous, unused."""

    word: str
    code: int
    sentence: str

    @property
    def passed(self) -> bool:
        """Nothing is to be done."""
        return self.code == 0


def judge(
    report: RunResult, demands: RunPolicy, *, ended: CommandResult | None = None, trouble: str | None = None
) -> Verdict:
    """The table. `trouble` is why recording was degraded when the run ended."""
    missed = f"{plural(report.misses, 'request')} had no recording"
    damaged = f"{plural(report.damaged, 'request')} had a recording that is damaged"
    unused = f"{len(report.unused)} of {plural(report.recordings, 'recording')} were asked for by nobody"
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
    if report.damage:  # what has been played so far is no proof that the rest is there
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
            "nothing was served, so nothing was tested: let the client use OPENAI_BASE_URL or REPLAYPROXY_URL, or say"
            " --allow-empty where nothing is to be asked",
        )
    if demands.fail_unused and report.unused:
        return Verdict(
            "unused",
            4,
            f"{unused}: delete them with `replayproxy prune CASSETTE --unused REPORT`, where REPORT was written by"
            " --report; or leave --fail-unused away",
        )
    return Verdict("passed", 0, f"{told(report)}, no misses")


def told(report: RunResult) -> str:
    """What was answered, in one phrase."""
    counts = (
        (report.forwarded, "forwarded"),
        (report.recorded, "recorded"),
        (report.dropped, "not recorded for want of room"),
        (report.simulated, "simulated"),
    )
    more = [f"{number} {what}" for number, what in counts if number]
    return ", ".join([f"{plural(report.served, 'answer')} from recordings", *more])


def visible_command(command: tuple[str, ...]) -> str:
    """A command as one would type it, on one line, not too long."""
    line = shlex.join(command)
    return line if len(line) <= 80 else line[:79] + "…"
