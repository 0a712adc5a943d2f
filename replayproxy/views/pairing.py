"""Which exchange of one recording belongs to which of another: by key and occurrence, or by what a driver noted.

    rows of the first ──┐
                        ├──▶ Pairing: pairs, only in the first, only in the second
    rows of the second ─┘

Equal requests are numbered in the order of asking, broken answers among them, so that the n-th meets the n-th whatever
became of it. Keeps of each row what a comparison needs, so that a million of them fit. Knows no cassette's file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from replayproxy.model import Key, Request
from replayproxy.views.port import ExchangeRow

SOURCE_HEADER = "x-replayproxy-source"
"""The request header in which a driver notes what it sends: `ID` of the recorded exchange, `;loop=N` from the second
time on."""

ID_DIGITS = 8
"""Digits of an id in a row; a driver may note more."""

_SOURCE = re.compile(r"([0-9a-f]{8,})(?:\s*;\s*loop=(\d{1,9}))?")


class PairedRow(NamedTuple):
    """What a comparison needs of a row. Times are in seconds. `measured`: complete, with a status from 200 to 399."""

    number: int
    id: str
    name: str
    model: str | None
    status: int
    ending: str
    measured: bool
    ttft_s: float | None
    tpot_s: float | None
    total_s: float | None
    starved: bool
    stalled: bool

    @classmethod
    def of(cls, row: ExchangeRow) -> PairedRow:
        """Of a finished exchange."""
        measured = row["ending"] == "complete" and 200 <= row["status"] < 400
        gaps = (row["chunks"] or 1) - 1
        spread = (row["total_s"] or 0) - (row["ttft_s"] or 0)
        return cls(
            number=row["number"],
            id=row["id"],
            name=f"{row['method']} {row['path']}",
            model=row["model"],
            status=row["status"],
            ending=row["ending"] or "",
            measured=measured,
            ttft_s=row["ttft_s"],
            tpot_s=row["tpot_s"],
            total_s=row["total_s"],
            # As views.starvation has it of a whole row: the recorder's delay is half a gap or more.
            starved=bool(row["stream"]) and gaps > 0 and row["starved_s"] > 0 and 2 * row["starved_s"] * gaps >= spread,
            stalled=bool(row["stalled"]),
        )


RowPair = tuple[PairedRow, PairedRow]


@dataclass(frozen=True, slots=True)
class Pairing:
    """What belongs together, in the order of the first recording; and what only one of them has."""

    pairs: tuple[RowPair, ...]
    missing: tuple[PairedRow, ...] = ()
    """Only in the first."""
    extra: tuple[PairedRow, ...] = ()
    """Only in the second."""
    noted: int = 0
    """Pairs that were joined by what a driver noted."""


class KeyedRow(NamedTuple):
    """A row, and the key by which it is joined."""

    key: Key
    row: PairedRow


def pair_by_key(first: Iterable[KeyedRow], second: Iterable[KeyedRow]) -> Pairing:
    """Join the n-th of a key with the n-th of that key. Both come in the order of asking."""
    waiting: defaultdict[Key, list[PairedRow]] = defaultdict(list)
    for key, row in second:
        waiting[key].append(row)
    taken: defaultdict[Key, int] = defaultdict(int)
    pairs, missing = [], []
    for key, row in first:
        others = waiting.get(key, ())
        place = taken[key]
        if place < len(others):
            pairs.append((row, others[place]))
            taken[key] = place + 1
        else:
            missing.append(row)
    extra = [row for key, rows in waiting.items() for row in rows[taken.get(key, 0) :]]
    return Pairing(tuple(pairs), tuple(missing), tuple(sorted(extra)))


def join_again(pairing: Pairing, first: Callable[[PairedRow], Key], second: Callable[[PairedRow], Key]) -> Pairing:
    """Join what was left by other keys, such as those without the masks of secrets, which differ between cassettes."""
    if not pairing.missing or not pairing.extra:
        return pairing
    again = pair_by_key(
        (KeyedRow(first(row), row) for row in pairing.missing), (KeyedRow(second(row), row) for row in pairing.extra)
    )
    pairs = sorted((*pairing.pairs, *again.pairs))
    return Pairing(tuple(pairs), again.missing, again.extra, pairing.noted)


# What a driver noted


class Source(NamedTuple):
    """Which recorded exchange a request was made from, and the how manieth time."""

    id: str
    loop: int


def source_of(request: Request) -> Source | None:
    """What a driver noted in a request; None for a request of somebody else."""
    for name, value in request.headers:
        if name.lower() == SOURCE_HEADER and (found := _SOURCE.fullmatch(value.strip())) is not None:
            return Source(found[1], int(found[2] or 0))
    return None


def pair_by_source(
    first: Mapping[str, Sequence[PairedRow]], second: Iterable[tuple[Source | None, PairedRow]]
) -> tuple[Pairing, list[PairedRow]]:
    """Join each request of a driver with the exchange it was made from; `first` has these by the digits of `row.id`.

    Also gives the rows of the second in which nothing is noted, or an id that the first has not, or has twice.
    """
    pairs, others, seen = [], [], set()
    for source, row in second:
        found = () if source is None else first.get(source.id[:ID_DIGITS], ())
        if len(found) != 1:
            others.append(row)
            continue
        seen.add(found[0].number)
        pairs.append((found[0], row))
    missing = tuple(row for rows in first.values() for row in rows if row.number not in seen)
    return Pairing(tuple(pairs), missing, (), len(pairs)), others
