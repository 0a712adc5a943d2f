"""Which exchanges have ended since the last look, while somebody records: what `tail` prints.

Numbers are given when an answer begins to be written, and answers end in any order: so those that are in flight are
noted, and looked at again. Each look opens the cassette and closes it: a recorder that is to stop cannot leave the
write-ahead log while somebody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from replayproxy.views.conversation import request_messages
from replayproxy.views.port import Browser, ExchangeFilter, ExchangeRow, RowOrder

PROMPT = 200
"""Characters of a prompt that are kept: more do not fit on a line."""

MOST_IN_FLIGHT = 500
"""Streams in flight that are asked for by one statement."""


class EndedExchange(NamedTuple):
    """An exchange that has ended, and how its last message begins, on one line."""

    row: ExchangeRow
    prompt: str


@dataclass(slots=True)
class Ends:
    """Which exchanges have ended, of rows that are looked at again and again."""

    last: int = 0
    """The highest number that was seen."""
    in_flight: set[int] = field(default_factory=set)

    @property
    def after(self) -> int:
        """The number behind which rows are to be looked at next."""
        return min([self.last, *(number - 1 for number in self.in_flight)])

    def note(self, rows: Iterable[ExchangeRow]) -> list[ExchangeRow]:
        """Those among the rows that have ended since they were seen in flight, or are seen for the first time."""
        ended = []
        for row in rows:
            number = row["number"]
            if number <= self.last and number not in self.in_flight:
                continue
            self.last = max(self.last, number)
            if row["state"] == "open":
                self.in_flight.add(number)
            else:
                self.in_flight.discard(number)
                ended.append(row)
        return ended


@dataclass(frozen=True, slots=True)
class Following:
    """One cassette that is followed. `open` gives a browser for the length of a look."""

    open: Callable[[], AbstractContextManager[Browser]]
    chosen: ExchangeFilter
    ends: Ends = field(default_factory=Ends)

    def begin(self, limit: int) -> list[EndedExchange]:
        """The newest so many that have ended, in the order of their numbers. From here on only new ones are given."""
        with self.open() as browser:
            newest = list(browser.newest_rows(replace(self.chosen, finished=True), limit)) if limit else []
            for row in browser.newest_rows(ExchangeFilter(), 1):
                self.ends.last = row["number"]
            self.ends.in_flight.update(row["number"] for row in browser.rows(ExchangeFilter("state = 'open'")))
            return [EndedExchange(row, _prompt(browser, row)) for row in newest[::-1]]

    def more(self) -> list[EndedExchange]:
        """Those that have ended since the last look and meet the filter, in the order of their numbers."""
        with self.open() as browser:
            numbers = [row["number"] for row in self.ends.note(self._candidates(browser))]
            return [EndedExchange(row, _prompt(browser, row)) for row in _chosen_of(browser, self.chosen, numbers)]

    def _candidates(self, browser: Browser) -> list[ExchangeRow]:
        last, found = self.ends.last, list[ExchangeRow]()
        noted = sorted(self.ends.in_flight)
        for first in range(0, len(noted), MOST_IN_FLIGHT):
            listed = ",".join(map(str, noted[first : first + MOST_IN_FLIGHT]))
            found += browser.rows(ExchangeFilter(f"number IN ({listed})"), RowOrder("number"))
        return [*found, *browser.rows(ExchangeFilter("number > :last", (("last", last),)), RowOrder("number"))]


def _chosen_of(browser: Browser, chosen: ExchangeFilter, numbers: list[int]) -> Iterator[ExchangeRow]:
    for first in range(0, len(numbers), MOST_IN_FLIGHT):
        listed = f"number IN ({','.join(map(str, numbers[first : first + MOST_IN_FLIGHT]))})"
        where = listed if chosen.where is None else f"({chosen.where}\n) AND {listed}"
        yield from browser.rows(replace(chosen, where=where), RowOrder("number"))


def _prompt(browser: Browser, row: ExchangeRow) -> str:
    messages = request_messages(browser.exchange(row["number"]).request)
    return " ".join(messages[-1].text[: 4 * PROMPT].split())[:PROMPT] if messages else ""
