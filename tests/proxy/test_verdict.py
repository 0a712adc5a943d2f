"""Which run was good: the table, and the words that go with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from replayproxy.core.faults.conduct import Outcome
from replayproxy.model import RecordingRef, Request
from replayproxy.proxy.fault_result import ClientFault, FaultResult
from replayproxy.proxy.result import Cause, RecordingInfo, RunResult
from replayproxy.proxy.verdict import CommandResult, RunPolicy, judge
from replayproxy.views.miss import Miss

ASKED = Request("POST", "/v1/chat/completions")
MISSED = (Cause("m-0001", Miss("no_match", ASKED, "rp1:00"), 4),)
UNUSED = (RecordingInfo("a.cassette", "7f3a1c02", RecordingRef("rp1:01", 0), "POST", "/v1/chat/completions"),)


def reported(**more: Any) -> RunResult:
    """A run in which everything was in order, but for this."""
    said: dict[str, Any] = {
        "mode": "replay",
        "cassettes": ("a.cassette",),
        "recordings": 3,
        "served": 2,
        "forwarded": 0,
        "recorded": 0,
        "dropped": 0,
        "simulated": 0,
        "causes": (),
        "unused": (),
        "lateness_max": 0.0,
    }
    return RunResult(**said | more)


GOOD = CommandResult(("npm", "test"), 0)
BAD = CommandResult(("npm", "test"), 9)
TEST = RunPolicy(must_serve=True)
STRICT = RunPolicy(fail_unused=True, must_serve=True)

DAMAGED = replace(MISSED[0], miss=replace(MISSED[0].miss, code="damaged"), times=2)

RESILIENT = RunPolicy(must_serve=True, assert_resilient=True)
WELL = FaultResult("status=429", {Outcome.RECOVERED: 2, Outcome.NOT_REACHED: 1})
BADLY = FaultResult.of(
    "cut@3", [ClientFault("f-0001", "cut@3", "POST", "/v1/x", "", Outcome.GAVE_UP, "did not ask again")], {}
)
NEVER = FaultResult("cut@99", {Outcome.NOT_REACHED: 1})

TABLE: list[tuple[str, RunResult, RunPolicy, CommandResult | None, str | None, str, int]] = [
    ("all is well", reported(), STRICT, GOOD, None, "passed", 0),
    ("unused, and nobody cares", reported(unused=UNUSED), TEST, GOOD, None, "passed", 0),
    ("unused", reported(unused=UNUSED), STRICT, GOOD, None, "unused", 4),
    ("missed", reported(causes=MISSED), STRICT, GOOD, None, "misses", 3),
    ("missed before unused", reported(causes=MISSED, unused=UNUSED), STRICT, GOOD, None, "misses", 3),
    ("a damaged recording", reported(causes=(*MISSED, DAMAGED)), STRICT, GOOD, None, "damaged", 6),
    ("damage before a full disk", reported(served=0, causes=(DAMAGED,)), STRICT, GOOD, "no room", "damaged", 6),
    ("the child failed before that", reported(causes=(DAMAGED,)), STRICT, BAD, None, "child", 9),
    ("nothing served", reported(served=0), TEST, GOOD, None, "vacuous", 7),
    ("nothing served before unused", reported(served=0, unused=UNUSED), STRICT, GOOD, None, "vacuous", 7),
    ("nothing served but misses", reported(served=0, causes=MISSED), TEST, GOOD, None, "misses", 3),
    ("nothing served, as allowed", reported(served=0), RunPolicy(), GOOD, None, "passed", 0),
    ("nothing served by a server", reported(served=0), RunPolicy(), None, None, "passed", 0),
    ("only recorded", reported(served=0, recorded=2), TEST, GOOD, None, "passed", 0),
    ("only forwarded", reported(served=0, forwarded=2), TEST, GOOD, None, "passed", 0),
    ("the disk was full", reported(recorded=2), TEST, GOOD, "no room", "degraded", 1),
    ("faults, all handled well", reported(faults=(WELL,)), RESILIENT, GOOD, None, "passed", 0),
    ("a fault handled badly", reported(faults=(WELL, BADLY)), RESILIENT, GOOD, None, "mishandled", 8),
    ("the same, and nobody cares", reported(faults=(WELL, BADLY)), TEST, GOOD, None, "passed", 0),
    ("no fault happened", reported(faults=(NEVER,)), RESILIENT, GOOD, None, "vacuous", 7),
    ("no fault was given", reported(), RESILIENT, GOOD, None, "vacuous", 7),
    ("missed before a fault", reported(causes=MISSED, faults=(BADLY,)), RESILIENT, GOOD, None, "misses", 3),
    ("only faults were served", reported(served=0, faults=(WELL,)), TEST, GOOD, None, "passed", 0),
    ("the child noticed a fault", reported(faults=(BADLY,)), RESILIENT, BAD, None, "child", 9),
    ("the child failed", reported(), TEST, BAD, None, "child", 9),
    ("the child failed, and all else", reported(served=0, causes=MISSED), STRICT, BAD, "no room", "child", 9),
]


@pytest.mark.parametrize(
    ("report", "demands", "ended", "trouble", "word", "code"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_the_table(
    report: RunResult, demands: RunPolicy, ended: CommandResult | None, trouble: str | None, word: str, code: int
) -> None:
    """The child's own code wins, then what makes a green run worthless, in the order of the exit codes' weight."""
    verdict = judge(report, demands, ended=ended, trouble=trouble)
    assert (verdict.word, verdict.code, verdict.passed) == (word, code, code == 0)


@pytest.mark.parametrize(
    ("report", "ended", "said"),
    [
        (reported(causes=MISSED), GOOD, "4 requests had no recording: record what is missing with --on-miss record"),
        (reported(causes=MISSED), BAD, "`npm test` ended with exit code 9, and 4 requests had no recording"),
        (reported(causes=(DAMAGED,)), GOOD, "2 requests had a recording that is damaged: restore the cassette"),
        (reported(causes=(DAMAGED,)), BAD, "`npm test` ended with exit code 9, and 2 requests had a recording that is"),
        (reported(unused=UNUSED), GOOD, "1 of 3 recordings were not used: delete them with `replayproxy"),
        (reported(served=0), GOOD, "nothing was served, so nothing was tested: let the client use OPENAI_BASE_URL"),
        (reported(faults=(NEVER,)), GOOD, "no fault was injected, so nothing was tested: give --fail, with a position"),
        (
            reported(faults=(WELL, BADLY)),
            GOOD,
            "the client mishandled 1 of 3 faults; the first: after cut@3 it did not ask again",
        ),
        (reported(recorded=2), GOOD, "2 answers from recordings, 2 recorded, no misses"),
        (reported(), CommandResult(("npm", "test"), 137, "SIGKILL"), "`npm test` was killed by SIGKILL"),
    ],
)
def test_a_verdict_says_what_happened_and_what_to_do(report: RunResult, ended: CommandResult, said: str) -> None:
    """One sentence, whole without the lines above it."""
    demands = RESILIENT if report.faults else STRICT
    assert judge(report, demands, ended=ended).sentence.startswith(said)
