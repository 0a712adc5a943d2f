"""Claims about statistics, such as `ttft.p99<500ms`: read, and judged for every group.

    p95(ttft) <= 0.3s      tpot.avg < 25ms      errors == 0      output_tokens_per_s >= 1000

A claim about something that no group has fails: a green run proves something.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from replayproxy.errors import SettingsError
from replayproxy.setting_kinds import BadValue, Duration, Number
from replayproxy.views.statistics import Group, data_rows
from replayproxy.views.units import count, duration

MEASURE_NAMES: Mapping[str, str] = {
    "ttft": "ttft_s",
    "head": "head_s",
    "prefill": "prefill_s",
    "handover": "handover_s",
    "decode_ttft": "decode_ttft_s",
    "gap": "chunk_gap_s",
    "chunk_gap": "chunk_gap_s",
    "itl": "chunk_gap_s",
    "tpot": "tpot_s",
    "total": "total_s",
    "latency": "total_s",
    "tokens": "output_tokens",
    "output_tokens": "output_tokens",
    "concurrency": "concurrency",
}
"""What has a distribution, by the words for it; also by the names of the data formats."""

FIGURE_NAMES = ("avg", "mean", "min", "p50", "p90", "p95", "p99", "max", "std", "n")

COUNTS: Mapping[str, str] = {
    "exchanges": "n",
    "streamed": "n",
    "errors": "n",
    "requests_per_s": "avg",
    "output_tokens_per_s": "avg",
    "busy_s": "avg",
}
"""What is one number, and the field of a row in which that stands."""

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}

_CLAIM = re.compile(
    r"\s*(?:(?P<name>[a-z_]+)(?:\.(?P<figure>[a-z0-9]+))?|(?P<first>[a-z0-9]+)\(\s*(?P<of>[a-z_]+)\s*\))"
    r"\s*(?P<sign><=|>=|==|<|>)\s*(?P<limit>\S.*?)\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One of them. `limit` is in seconds, tokens or whatever the measure is in."""

    text: str
    measure: str
    field: str
    sign: str
    limit: float

    @property
    def is_time(self) -> bool:
        """Whether it is about seconds."""
        return self.measure.endswith("_s") and not self.measure.endswith("_per_s")

    def holds(self, value: float) -> bool:
        """Whether it is true of this value."""
        return COMPARISONS[self.sign](value, self.limit)


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a claim in a group. `value` is None where the group has nothing to compare."""

    claim: Claim
    group: str
    value: float | None

    @property
    def holds(self) -> bool:
        """Whether the claim is true of the group."""
        return self.value is not None and self.claim.holds(self.value)

    def __str__(self) -> str:
        if self.value is None:
            where = f"in {self.group}" if self.group else "in any group"
            return f"{self.claim.text}: there is nothing to measure {where}"
        value = duration(self.value) if self.claim.is_time else count(self.value)
        return f"{self.claim.text}: {'holds' if self.holds else 'does not hold'} for {self.group}, where it is {value}"


def read_claim(text: str) -> Claim:
    """A claim as it is written. Raises `SettingsError`."""
    found = _CLAIM.fullmatch(text)
    if found is None:
        raise SettingsError(f"{text!r} is not a claim: write one such as 'ttft.p99<500ms' or 'errors == 0'")
    name, figure = (found["name"] or found["of"]).lower(), (found["figure"] or found["first"] or "").lower()
    if name in COUNTS and not figure:
        return Claim(text, name, COUNTS[name], found["sign"], _limit(text, found["limit"], is_time=name == "busy_s"))
    measure = MEASURE_NAMES.get(name, name if name in MEASURE_NAMES.values() else "")
    if not measure:
        raise SettingsError(
            f"{text!r}: there is no measure {name!r}: choose from {', '.join([*MEASURE_NAMES, *COUNTS])}"
        )
    if figure not in FIGURE_NAMES:
        what = f"no figure {figure!r}" if figure else "no figure"
        raise SettingsError(f"{text!r} names {what}: write {name}.p99, or one of {', '.join(FIGURE_NAMES)}")
    is_time = measure.endswith("_s") and figure != "n"
    return Claim(
        text,
        measure,
        "avg" if figure == "mean" else figure,
        found["sign"],
        _limit(text, found["limit"], is_time=is_time),
    )


def _limit(text: str, limit: str, *, is_time: bool) -> float:
    try:
        return Duration().read(limit) if is_time else Number().read(limit)
    except BadValue as error:
        raise SettingsError(f"{text!r}: {error}") from error


def judge(claims: Sequence[Claim], groups: Iterable[Group]) -> list[Finding]:
    """Each claim in each group that it is about; in none of them, it fails once."""
    rows = list(data_rows(groups)) if claims else []
    findings = []
    for claim in claims:
        of_claim = [
            Finding(claim, str(row["group"]), float(row[claim.field]))
            for row in rows
            if row["measure"] == claim.measure and row[claim.field] is not None
        ]
        findings += of_claim or [Finding(claim, "", None)]
    return findings
