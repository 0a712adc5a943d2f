"""`verify --pair`: every hand-over on a cassette judged, and tickets that were used twice; as values and as data.

Knows no file and no terminal: it reads a `Browser`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from replayproxy.core.pd.hand_over import CODES, HandOver, HandOverFinding, LegTimes, judge_hand_over
from replayproxy.core.stats import Summary, summarise
from replayproxy.errors import CassetteError
from replayproxy.views.port import EVERYTHING, Browser

SCHEMA = "replayproxy-pair-check/1"

KEPT = 1000
"""Exchanges with findings that are kept; all are counted."""

SLOW_DECODE = 0.9
"""Where a decode's TTFT is at least so large a part of its prefill's time, it may have computed the prompt again."""

ENOUGH = 8
"""Hand-overs with both times below which their ratio says nothing."""

WORTH = 0.1
"""Seconds that a prefill takes at least for its time to be compared: a short one is as fast as a hand-over."""


@dataclass(frozen=True, slots=True)
class JudgedExchange:
    """One exchange with what is wrong."""

    id: str
    request: str
    status: int
    findings: tuple[HandOverFinding, ...]


@dataclass(slots=True)
class PairCheck:
    """The hand-overs of one cassette. `alone`: decodes of requests that were not split. Times in seconds."""

    path: str
    exchanges: int = 0
    handed_over: int = 0
    alone: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    judged: list[JudgedExchange] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=lambda: {"prefill": [], "handover": [], "decode_ttft": []})
    unreadable: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong, and there was something to judge."""
        return not self.codes and not self.unreadable and self.handed_over > 0

    @property
    def exit_code(self) -> int:
        """0 clean, 5 findings, 6 unreadable, 9 nothing was handed over."""
        if self.unreadable:
            return 6
        if self.codes:
            return 5
        return 0 if self.handed_over else 9

    @property
    def suspicion(self) -> str | None:
        """That decodes are as slow as prefills: no proof, so no finding."""
        both = [
            (prefill, ttft)
            for prefill, ttft in zip(self.times["prefill"], self.times["decode_ttft"], strict=False)
            if prefill >= WORTH
        ]
        if len(both) < ENOUGH or len(self.times["prefill"]) != len(self.times["decode_ttft"]):
            return None
        ratios = sorted(ttft / prefill for prefill, ttft in both)
        middle = ratios[len(ratios) // 2]
        if middle < SLOW_DECODE:
            return None
        return (
            f"the decode's TTFT is {middle:.2f} of the prefill's time in the median of {len(both)} hand-overs: look"
            " whether the decode server computes the prompts again"
        )


def check_pairs(browser: Browser) -> PairCheck:
    """Judge every exchange of a cassette that has legs."""
    check = PairCheck(str(browser.path))
    presented: defaultdict[str, list[str]] = defaultdict(list)
    for row in browser.rows(EVERYTHING):
        check.exchanges += 1
        if not row["legs"] or row["state"] != "done":
            continue
        try:
            found = judge_hand_over(browser.exchange(row["number"]))
        except CassetteError as error:
            check.unreadable.append(str(error))
            continue
        findings = list(found.findings)
        for ticket in found.tickets:
            if earlier := presented[ticket]:
                again = f"{ticket[:60]!r} was presented by {earlier[0]} before"
                findings.append(HandOverFinding("ticket_reused", again))
            presented[ticket].append(row["id"])
        _count(check, found)
        if findings:
            check.codes.update({finding.code for finding in findings})
            if len(check.judged) < KEPT:
                name = f"{row['method']} {row['path']}"
                check.judged.append(JudgedExchange(row["id"], name, row["status"], tuple(findings)))
    return check


def _count(check: PairCheck, found: HandOver) -> None:
    check.alone += found.decodes_alone
    if found.decodes_alone:
        return
    check.handed_over += 1
    times: LegTimes = found.times
    values = {"prefill": times.prefill, "handover": times.handover, "decode_ttft": times.decode_ttft}
    if not found.findings:
        for name, value in values.items():
            if value is not None:
                check.times[name].append(value / 1e9)


def pair_fields(check: PairCheck) -> dict[str, Any]:
    """Everything as one JSON object."""
    return {
        "schema": SCHEMA,
        "cassette": check.path,
        "verdict": {0: "passed", 5: "failed", 6: "damaged", 9: "inconclusive"}[check.exit_code],
        "exchanges": check.exchanges,
        "hand_overs": check.handed_over,
        "decodes_alone": check.alone,
        "codes": dict(check.codes),
        "suspicion": check.suspicion,
        "times_s": {name: _summary(summarise(values)) for name, values in check.times.items()},
        "findings": [
            {
                "id": one.id,
                "request": one.request,
                "status": one.status,
                "findings": [
                    {"code": finding.code, "text": finding.text, "meaning": CODES[finding.code]}
                    for finding in one.findings
                ],
            }
            for one in check.judged
        ],
        "unreadable": check.unreadable,
    }


def _summary(summary: Summary | None) -> Mapping[str, float] | None:
    if summary is None:
        return None
    names = ("n", "mean", "min", "p50", "p90", "p95", "p99", "max", "std")
    return {name: getattr(summary, name) for name in names}
