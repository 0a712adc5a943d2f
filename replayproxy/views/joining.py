"""Join the exchanges of two recordings: read their rows, and the requests of those whose keys do not meet.

Keys are those of the cassettes where both have the same match rules; else they are derived again. What is left then is
joined without the masks of secrets, whose hashes belong to one cassette. Knows no file: it reads two `Browser`s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from replayproxy.core.coding import body_of
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import masks
from replayproxy.model import Key, Request
from replayproxy.views.pairing import (
    KeyedRow,
    PairedRow,
    Pairing,
    Source,
    join_again,
    pair_by_key,
    pair_by_source,
    source_of,
)
from replayproxy.views.port import EVERYTHING, Browser, ExchangeFilter


def joined(
    first: Browser, second: Browser, chosen: ExchangeFilter = EVERYTHING, rules: MatchRules | None = None
) -> Pairing:
    """Join by key and occurrence. `rules`: match rules for both, in place of their own."""
    ours = rules or first.rules
    keys = [_Keys(browser, ours, stored=browser.rules == ours) for browser in (first, second)]
    rows = [_rows(browser, chosen) for browser in (first, second)]
    pairing = pair_by_key(keys[0].of_all(rows[0]), keys[1].of_all(rows[1]))
    return join_again(pairing, keys[0].without_masks, keys[1].without_masks)


def joined_by_source(
    first: Browser, second: Browser, chosen: ExchangeFilter = EVERYTHING, rules: MatchRules | None = None
) -> Pairing:
    """Join by what a driver noted in the requests of the second; where it noted nothing, by key and occurrence.

    Two runs of a driver from the same recording are joined by what it noted in both.
    """
    by_id: defaultdict[str, list[PairedRow]] = defaultdict(list)
    for _, row in _rows(first, chosen):
        by_id[row.id].append(row)
    noted: list[tuple[Source | None, PairedRow]] = [
        (source_of(second.request(row.number)), row) for _, row in _rows(second, chosen)
    ]
    if not any(source is not None for source, _ in noted):
        return joined(first, second, chosen, rules)
    pairing, others = pair_by_source(by_id, noted)
    if not pairing.pairs and (both := _both_noted(first, chosen, noted)) is not None:
        pairing, others = both, list(both.extra)
    ours = rules or first.rules
    keys = [_Keys(browser, ours, stored=False) for browser in (first, second)]
    left = replace(pairing, extra=tuple(others))
    return join_again(left, keys[0].without_masks, keys[1].without_masks)


def _both_noted(
    first: Browser, chosen: ExchangeFilter, second: Sequence[tuple[Source | None, PairedRow]]
) -> Pairing | None:
    """Join two runs of a driver; None where nothing is noted in the first. The rest is only in one of them."""
    ours = [(source_of(first.request(row.number)), row) for _, row in _rows(first, chosen)]
    if all(source is None for source, _ in ours):
        return None
    sides = [
        [KeyedRow(f"{side if source is None else source}", row) for source, row in rows]
        for side, rows in (("first", ours), ("second", second))
    ]
    pairing = pair_by_key(*sides)
    return replace(pairing, noted=len(pairing.pairs))


def _rows(browser: Browser, chosen: ExchangeFilter) -> Iterator[tuple[Key, PairedRow]]:
    for row in browser.rows(replace(chosen, finished=True)):
        yield row["key"], PairedRow.of(row)


class _Keys:
    """Derives keys of one recording by the rules of a comparison."""

    def __init__(self, browser: Browser, rules: MatchRules, *, stored: bool) -> None:
        self._browser = browser
        self._stored = stored
        self._matcher = Matcher(rules)

    def of_all(self, rows: Iterator[tuple[Key, PairedRow]]) -> Iterator[KeyedRow]:
        for key, row in rows:
            yield KeyedRow(key if self._stored else self.without_masks(row), row)

    def without_masks(self, row: PairedRow) -> Key:
        """The key of a request in which every secret is the same."""
        return self._matcher.key(without_masks(self._browser.request(row.number)))


def without_masks(request: Request) -> Request:
    """The request with every secret as the same mask, and its body without a content coding."""
    body, target = body_of(request), request.target.encode("utf-8", "surrogateescape")
    return Request(
        request.method,
        masks.without_hashes(target).decode("utf-8", "surrogateescape"),
        tuple(field for field in request.headers if field[0].lower() != "content-encoding"),
        masks.without_hashes(body),
    )
