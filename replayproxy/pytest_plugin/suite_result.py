"""The result of a whole run of pytest, put together from what each process reports.

    ProcessResult of gw0 ─┐
    ProcessResult of gw1 ─┼─▶ SuiteResult ─▶ the lines on the terminal, the report, the exit code
    ProcessResult of …   ─┘        └─ one RunResult per cassette, and one of them all

Plain values and functions of them: the result does not depend on a clock, a port or the order of arrival, so equal runs
have equal reports. Knows no pytest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from replayproxy import __version__
from replayproxy.proxy.result import Cause, RunResult
from replayproxy.proxy.verdict import CommandResult, RunPolicy, judge
from replayproxy.pytest_plugin.process_result import CassetteUse, Document, ItemResult, ProcessResult


@dataclass(frozen=True, slots=True)
class CassetteResult:
    """One cassette in a whole run. `result` has its recordings and what is unused; `outcomes` are those of its tests.

    `not_judged` says why its unused recordings are not known; None if they are.
    """

    cassette: str
    tests: int
    outcomes: Mapping[str, int]
    result: RunResult
    not_judged: str | None

    @property
    def unused(self) -> tuple[Document, ...] | None:
        """Its unused recordings as documents; None if they are not known."""
        return None if self.not_judged else tuple(recording.document() for recording in self.result.unused)

    def document(self) -> Document:
        """Return its JSON object."""
        return {
            "cassette": self.cassette,
            "tests": self.tests,
            "recordings": self.result.recordings,
            **_counts(self.outcomes),
            "unused": None if self.unused is None else list(self.unused),
            "unjudged": self.not_judged,
        }


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """A whole run. `misses` and `late` (misses after their tests) are documents."""

    lines: tuple[CassetteResult, ...]
    misses: tuple[Document, ...]
    late: tuple[Document, ...]
    processes: int
    orphans: tuple[str, ...] = ()
    """Cassettes that no test uses any more."""

    @property
    def outcomes(self) -> Counter[str]:
        """How often each outcome, over all cassettes."""
        total: Counter[str] = Counter()
        for line in self.lines:
            total.update(line.outcomes)
        return total

    @property
    def unused(self) -> tuple[Document, ...]:
        """The recordings that no test used, as documents."""
        return tuple(recording for line in self.lines for recording in line.unused or ())

    @property
    def lateness_max(self) -> float:
        """How late the latest chunk was sent, in seconds."""
        return max((line.result.lateness_max for line in self.lines), default=0.0)

    @property
    def result(self) -> RunResult:
        """The run as one result, as of a proxy that played all cassettes: what its tests were answered, and missed."""
        lines = [replace(line.result, unused=()) if line.not_judged else line.result for line in self.lines]
        causes = tuple(Cause.from_document(_without_test(miss)) for miss in (*self.misses, *self.late))
        outcomes = self.outcomes
        return replace(
            RunResult.merged(lines or [RunResult.empty("replay")]),
            served=outcomes["replay"],
            forwarded=outcomes["forward"],
            recorded=outcomes["record"],
            causes=causes,
            forgotten={},
            lateness_max=self.lateness_max,
        )

    @property
    def sentence(self) -> str:
        """The run in one line."""
        counts = _counts(self.outcomes)
        missed = counts["missed"] + len(self.late)
        parts = [f"{counts['served']} served", f"{missed} missed"]
        parts += [f"{counts[name]} {name}" for name in ("recorded", "forwarded") if counts[name]]
        if any(line.unused is not None for line in self.lines):
            parts.append(f"{len(self.unused)} unused")
        if self.orphans:
            parts.append(f"{len(self.orphans)} orphaned cassette{'' if len(self.orphans) == 1 else 's'}")
        number = len(self.lines)
        return f"{', '.join(parts)} in {number} cassette{'' if number == 1 else 's'}"

    def document(self, *, exit_code: int = 0, fail_unused: bool = False) -> Document:
        """Return its JSON object. What may differ between equal runs is in `run` only.

        `exit_code` is pytest's. The verdict and its code are those of `exec` with pytest as its command.
        """
        result = self.result
        pytest = CommandResult(("pytest",), exit_code)
        verdict = judge(result, RunPolicy(fail_unused=fail_unused), ended=pytest)
        return {
            "replayproxy": __version__,
            "verdict": verdict.word,
            "exit_code": verdict.code,
            **_counts(self.outcomes),
            "unused": len(self.unused),
            "cassettes": [line.document() for line in self.lines],
            "misses": list(self.misses),
            "late_misses": list(self.late),
            "orphans": list(self.orphans),
            # What clients did has times in it; how often each outcome, has not.
            "result": replace(
                result, lateness_max=0.0, faults=tuple(replace(fault, clients=()) for fault in result.faults)
            ).document(),
            "run": {"processes": self.processes, "lateness_max_s": self.lateness_max},
        }


def suite_result(
    processes: Iterable[ProcessResult], passed: set[str], *, crashed: bool = False, orphans: tuple[str, ...] = ()
) -> SuiteResult:
    """Put the results of all processes together; `passed` are the tests that ran and passed in all their phases."""
    reported = list(processes)
    tests = sorted((test for process in reported for test in process.tests.values()), key=lambda test: test.test)
    names = sorted({name for process in reported for name in process.cassettes})
    late = (miss for process in reported for miss in process.late)
    return SuiteResult(
        lines=tuple(_cassette_result(name, reported, tests, passed, crashed=crashed) for name in names),
        misses=tuple({"test": test.test, "cassette": test.cassette, **miss} for test in tests for miss in test.misses),
        late=tuple(sorted(late, key=lambda miss: str(miss["sentence"]))),
        processes=len(reported),
        orphans=orphans,
    )


def orphans(processes: Sequence[ProcessResult], found: Iterable[str], *, crashed: bool = False) -> tuple[str, ...]:
    """Of the cassettes that were found in the folders of this run, those that no test uses any more.

    Empty where only some tests ran, because the others may use them. A test that was collected and did not get as far
    as its cassette keeps what may be its own.
    """
    if crashed or any(process.narrowed for process in processes):
        return ()
    used = {name for process in processes for name in (*process.cassettes, *process.spared)}
    return tuple(sorted(name for name in found if not any(name == own or name.startswith(f"{own}/") for own in used)))


def _cassette_result(
    name: str, processes: list[ProcessResult], every_test: list[ItemResult], passed: set[str], *, crashed: bool
) -> CassetteResult:
    tests = [test for test in every_test if test.cassette == name]
    uses = [process.cassettes[name] for process in processes if name in process.cassettes]
    outcomes: Counter[str] = Counter()
    for test in tests:
        outcomes.update(test.outcomes)
    not_judged = (
        "a worker ended before it could tell"
        if crashed
        else "it was recorded in this run"
        if any(use.is_recorded for use in uses)
        else _why_not_judged(processes, {test.test for test in tests}, passed, named=any(use.named for use in uses))
    )
    return CassetteResult(name, len(tests), outcomes, _merged(name, uses), not_judged)


def _merged(name: str, uses: list[CassetteUse]) -> RunResult:
    results = [RunResult.from_document(use.result) for use in uses if use.result is not None]
    return RunResult.merged(results or [RunResult.empty("replay", (name,))])


def _why_not_judged(processes: list[ProcessResult], tests: set[str], passed: set[str], *, named: bool) -> str | None:
    """Why it is not known which recordings other tests would have used; None if all tests of the cassette ran."""
    narrowed = {file for process in processes for file in process.narrowed}
    files = sorted({test.partition("::")[0] for test in tests})
    if named and "*" in narrowed:
        return "it has a name of its own, and not all files ran"
    for file in files:
        if file in narrowed:
            return f"not all tests of {file} were selected"
        for test in sorted({test for process in processes for test in process.selected.get(file, ())}):
            if test not in passed:
                return f"{test} did not pass"
    return None


def first_not_passed(processes: Iterable[ProcessResult], cassette: str, passed: set[str]) -> str | None:
    """The first test on a cassette that did not pass, if there is one."""
    tests = {test.test for process in processes for test in process.tests.values() if test.cassette == cassette}
    return min(tests - passed, default=None)


def _without_test(miss: Document) -> Document:
    return {name: value for name, value in miss.items() if name not in ("test", "cassette")}


def _counts(outcomes: Mapping[str, int]) -> dict[str, int]:
    return {
        "served": outcomes.get("replay", 0),
        "missed": outcomes.get("refuse", 0),
        "recorded": outcomes.get("record", 0),
        "forwarded": outcomes.get("forward", 0),
    }
