"""What became of a run, put together from what each process has to tell: xdist workers, or the only process there is.

    Ledger of gw0 ─┐
    Ledger of gw1 ─┼─▶ Account ─▶ the lines on the terminal, the report, the exit code
    Ledger of …   ─┘

Plain values that survive JSON, and functions of them: no clock, no port, no order of arrival is in what comes out, so
that equal runs have equal reports. Knows no pytest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Document = dict[str, Any]

NAMED = ("selected", "narrowed", "late", "lateness_max", "folders", "spared")
"""What a ledger's document holds as it is."""


@dataclass(slots=True)
class ItemResult:
    """One test: its cassette, how often each outcome, and its misses as documents."""

    test: str
    cassette: str
    outcomes: dict[str, int] = field(default_factory=dict)
    misses: list[Document] = field(default_factory=list)


@dataclass(slots=True)
class CassetteUse:
    """One cassette, as one process has used it.

    `unused` are the recordings that this process did not play, None where it recorded. `part` is what it recorded onto
    when that is not the cassette itself. `named`: by a test, so that tests of any file may use it.
    """

    mode: str
    recordings: int = 0
    unused: list[Document] | None = None
    part: str | None = None
    recorded: int = 0
    named: bool = False


@dataclass(slots=True)
class ProcessResult:
    """What one process tells."""

    tests: dict[str, ItemResult] = field(default_factory=dict)
    cassettes: dict[str, CassetteUse] = field(default_factory=dict)
    selected: dict[str, list[str]] = field(default_factory=dict)
    """The tests that were to run, by file; of the files whose tests asked for a proxy."""
    narrowed: list[str] = field(default_factory=list)
    """Files of which tests were left away; `*` where files themselves were chosen."""
    late: list[Document] = field(default_factory=list)
    """Misses after the test that caused them was over."""
    lateness_max: float = 0.0
    folders: list[str] = field(default_factory=list)
    """Where the cassettes of the tests that ran lie."""
    spared: list[str] = field(default_factory=list)
    """Cassettes and folders of tests that were collected, and that may have asked had they run."""

    def document(self) -> Document:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def of(cls, told: Document) -> ProcessResult:
        """Out of its document."""
        return cls(
            tests={name: ItemResult(**test) for name, test in told["tests"].items()},
            cassettes={name: CassetteUse(**kept) for name, kept in told["cassettes"].items()},
            **{name: told[name] for name in NAMED},
        )


@dataclass(frozen=True, slots=True)
class CassetteResult:
    """One cassette in the account. `unused` None: it cannot be told, and `unjudged` says why."""

    cassette: str
    tests: int
    recordings: int
    outcomes: Mapping[str, int]
    unused: tuple[Document, ...] | None
    unjudged: str | None

    def document(self) -> Document:
        """As JSON has it."""
        return {
            "cassette": self.cassette,
            "tests": self.tests,
            "recordings": self.recordings,
            **_counts(self.outcomes),
            "unused": None if self.unused is None else list(self.unused),
            "unjudged": self.unjudged,
        }


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """A whole run."""

    lines: tuple[CassetteResult, ...]
    misses: tuple[Document, ...]
    late: tuple[Document, ...]
    processes: int
    lateness_max: float
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
        """What nobody asked for."""
        return tuple(one for line in self.lines for one in line.unused or ())

    @property
    def sentence(self) -> str:
        """The run in one line."""
        counted = _counts(self.outcomes)
        missed = counted["missed"] + len(self.late)
        parts = [f"{counted['served']} served", f"{missed} missed"]
        parts += [f"{counted[name]} {name}" for name in ("recorded", "forwarded") if counted[name]]
        if any(line.unused is not None for line in self.lines):
            parts.append(f"{len(self.unused)} unused")
        if self.orphans:
            parts.append(f"{len(self.orphans)} orphaned cassette{'' if len(self.orphans) == 1 else 's'}")
        number = len(self.lines)
        return f"{', '.join(parts)} in {number} cassette{'' if number == 1 else 's'}"

    def document(self) -> Document:
        """As JSON has it. What may differ between equal runs stands under `run` alone."""
        return {
            **_counts(self.outcomes),
            "unused": len(self.unused),
            "cassettes": [line.document() for line in self.lines],
            "misses": list(self.misses),
            "late_misses": list(self.late),
            "orphans": list(self.orphans),
            "run": {"processes": self.processes, "lateness_max_s": self.lateness_max},
        }


def suite_result(
    ledgers: Iterable[ProcessResult], passed: set[str], *, crashed: bool = False, orphans: tuple[str, ...] = ()
) -> SuiteResult:
    """Everybody's ledgers together; `passed` are the tests that ran and passed in all their phases."""
    known = list(ledgers)
    told = sorted((test for ledger in known for test in ledger.tests.values()), key=lambda test: test.test)
    names = sorted({name for ledger in known for name in ledger.cassettes})
    return SuiteResult(
        lines=tuple(_line(name, known, told, passed, crashed=crashed) for name in names),
        misses=tuple({"test": test.test, "cassette": test.cassette, **miss} for test in told for miss in test.misses),
        late=tuple(sorted((miss for ledger in known for miss in ledger.late), key=lambda miss: str(miss["sentence"]))),
        processes=len(known),
        lateness_max=max((ledger.lateness_max for ledger in known), default=0.0),
        orphans=orphans,
    )


def orphans(ledgers: Sequence[ProcessResult], found: Iterable[str], *, crashed: bool = False) -> tuple[str, ...]:
    """Of the cassettes that were found in the folders of this run, those that no test uses any more.

    None of them where only some tests ran: the others may use it. A test that was collected and did not get as far as
    its cassette keeps what may be its own.
    """
    if crashed or any(ledger.narrowed for ledger in ledgers):
        return ()
    used = {name for ledger in ledgers for name in (*ledger.cassettes, *ledger.spared)}
    return tuple(sorted(name for name in found if not any(name == one or name.startswith(f"{one}/") for one in used)))


def _line(
    name: str, ledgers: list[ProcessResult], told: list[ItemResult], passed: set[str], *, crashed: bool
) -> CassetteResult:
    tests = [test for test in told if test.cassette == name]
    kept = [ledger.cassettes[name] for ledger in ledgers if name in ledger.cassettes]
    outcomes: Counter[str] = Counter()
    for test in tests:
        outcomes.update(test.outcomes)
    unjudged = (
        "a worker ended before it could tell"
        if crashed
        else "it was recorded in this run"
        if any(one.unused is None for one in kept)
        else _why_not_judged(ledgers, {test.test for test in tests}, passed, named=any(one.named for one in kept))
    )
    return CassetteResult(
        cassette=name,
        tests=len(tests),
        recordings=max(one.recordings for one in kept),
        outcomes=outcomes,
        unused=None if unjudged else tuple(_unused_in_all(kept)),
        unjudged=unjudged,
    )


def _unused_in_all(kept: list[CassetteUse]) -> Iterable[Document]:
    """The recordings that every process has left over, in the order of the first one."""
    left = [{identity(one) for one in process.unused or ()} for process in kept]
    return (one for one in kept[0].unused or () if all(identity(one) in others for others in left))


def identity(recording: Document) -> tuple[str, int]:
    """The same for a recording whoever looks at it. (Its key differs where a test matches by other rules.)"""
    return recording["id"], recording["occurrence"]


def _why_not_judged(ledgers: list[ProcessResult], tests: set[str], passed: set[str], *, named: bool) -> str | None:
    """Why it cannot be known who else would have asked for recordings, if it cannot."""
    narrowed = {file for ledger in ledgers for file in ledger.narrowed}
    files = sorted({test.partition("::")[0] for test in tests})
    if named and "*" in narrowed:
        return "it has a name of its own, and not all files ran"
    for file in files:
        if file in narrowed:
            return f"not all tests of {file} were selected"
        for test in sorted({test for ledger in ledgers for test in ledger.selected.get(file, ())}):
            if test not in passed:
                return f"{test} did not pass"
    return None


def first_not_passed(ledgers: Iterable[ProcessResult], cassette: str, passed: set[str]) -> str | None:
    """The first test on a cassette that did not pass, if there is one."""
    tests = {test.test for ledger in ledgers for test in ledger.tests.values() if test.cassette == cassette}
    return min(tests - passed, default=None)


def _counts(outcomes: Mapping[str, int]) -> dict[str, int]:
    return {
        "served": outcomes.get("replay", 0),
        "missed": outcomes.get("refuse", 0),
        "recorded": outcomes.get("record", 0),
        "forwarded": outcomes.get("forward", 0),
    }
