"""Conditions that make an answer an incident: `status>=500`, `ttft>2s`, `gap>5s`, `total>60s`, `cut`.

    keep-on  = cut | name op value         name = status | ttft | gap | total         op = > >= < <= = !=

Pure: what is known of an answer comes in, whether it is an incident comes out.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from replayproxy.setting_kinds import BadValue, Duration

_CONDITION = re.compile(r"\s*(status|ttft|gap|total)\s*(>=|<=|!=|==|=|>|<)\s*(\S+)\s*")

_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}

FORM = "write cut, status>=500, ttft>2s, gap>5s or total>60s"


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """What a condition compares. Times in ns; None: there was none."""

    status: int
    """That of our own error where the server gave no answer."""
    ttft: int | None = None
    gap: int | None = None
    """The longest between two chunks of a stream."""
    total: int | None = None
    cut: bool = False
    """The server ended its answer in the middle, was silent for too long, or gave none."""


@dataclass(frozen=True, slots=True)
class IncidentCondition:
    """One condition. `text` is how it was written."""

    text: str
    name: str
    compare: str = ""
    value: int = 0

    @classmethod
    def parse(cls, text: str) -> IncidentCondition:
        """Read one. Raises `BadValue`."""
        if text.strip() == "cut":
            return cls("cut", "cut")
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise BadValue(f"{text!r} is not a condition: {FORM}")
        name, compare, value = found.groups()
        if name == "status":
            if not value.isascii() or not value.isdecimal() or len(value) > 3:
                raise BadValue(f"{text!r} compares no status code: {FORM}")
            return cls(text.strip(), name, compare, int(value))
        try:
            return cls(text.strip(), name, compare, round(Duration().read(value) * 1e9))
        except BadValue as error:
            raise BadValue(f"{text!r}: {error}") from None

    def is_met_by(self, facts: AnswerFacts) -> bool:
        """Whether an answer is an incident."""
        if self.name == "cut":
            return facts.cut
        measured: int | None = getattr(facts, self.name)
        return measured is not None and _OPERATORS[self.compare](measured, self.value)
