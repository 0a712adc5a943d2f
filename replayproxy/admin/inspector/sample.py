"""A bounded choice of exchanges for pages that summarise: all of few, every n-th of many.

Numbers are spread evenly, and looked up one by one, so that a page costs the same on a cassette of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

from replayproxy.admin.inspector.query import with_condition
from replayproxy.views.port import Browser, ExchangeFilter

MOST = 5_000
"""Exchanges that a page reads unless it is asked for all."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Which exchanges are read. Each stands for `each`; 1 means that all are there."""

    chosen: ExchangeFilter
    each: int
    count: int
    """Exchanges on the cassette."""

    @classmethod
    def of(cls, browser: Browser, chosen: ExchangeFilter, most: int | None = None) -> Sample:
        """Choose at most about so many, or `MOST`."""
        most = MOST if most is None else most
        count = browser.count()
        newest = browser.newest_ids(1)
        if count <= most or not newest:
            return cls(chosen, 1, count)
        last = newest[0].number
        step = -(-last // max(1, most))
        numbers = ",".join(f"{number:d}" for number in range(last, 0, -step))
        return cls(with_condition(chosen, f"number IN ({numbers})"), max(1, round(count * step / last)), count)
