"""What a measurement says: tables of plain text, and a verdict for each promise.

Knows nothing of how it was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """A promise and what was measured. `measured` None: it could not be, and `why` says so."""

    promise: str
    measured: float | None
    bound: float
    aim: float | None = None
    at_least: bool = False
    unit: str = "x"
    why: str = ""
    counted: bool = True
    """Whether a broken bound fails the run: what other load on the machine can break does not."""

    @property
    def broken(self) -> bool:
        """Whether the bound counts and does not hold."""
        return self.counted and self.measured is not None and not self._within(self.bound)

    def _within(self, limit: float) -> bool:
        assert self.measured is not None
        return self.measured >= limit if self.at_least else self.measured <= limit

    @property
    def row(self) -> tuple[str, ...]:
        """For the last table."""
        sign = ">=" if self.at_least else "<="
        bound = f"{sign} {self.bound:g} {self.unit}"
        aim = "" if self.aim is None else f"{sign} {self.aim:g} {self.unit}"
        if self.measured is None:
            return self.promise, "", bound, aim, f"not measured: {self.why}"
        if not self._within(self.bound):
            word = "broken" if self.counted else "broken (not counted)"
        else:
            word = "met, and the aim" if self.aim is not None and self._within(self.aim) else "met"
        return self.promise, f"{self.measured:.3g} {self.unit}", bound, aim, word


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A title and aligned columns: the first to the left, numbers to the right."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    numeric = [
        all(not row[column] or row[column].lstrip("<>=-~ ")[:1].isdigit() for row in rows)
        for column in range(len(headings))
    ]

    def spelled(line: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if right and place else cell.ljust(width)
            for place, (cell, width, right) in enumerate(zip(line, widths, numeric, strict=True))
        )
        return "  " + "   ".join(cells).rstrip()

    ruler = "  " + "   ".join("-" * width for width in widths)
    return "\n".join((title, "", spelled(lines[0]), ruler, *map(spelled, lines[1:]), ""))
