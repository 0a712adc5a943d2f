"""Derive again everything a cassette says of itself, and compare. Reads all of it; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from replayproxy.cassette.cassette import Cassette, key_bytes
from replayproxy.core.canonical import TAG
from replayproxy.core.matching import Matcher
from replayproxy.core.openai import facts_of
from replayproxy.errors import Damaged


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written. `where` names the recording, or is empty for the file."""

    where: str
    what: str


def verify(path: Path) -> tuple[int, list[Problem]]:
    """How many exchanges there are, and every problem. Raises `CassetteError` where the file cannot be opened."""
    with Cassette(path) as cassette:
        problems = list(_file_problems(cassette))
        if problems:
            return 0, problems  # nothing that a broken file says can be compared
        matcher = Matcher(cassette.rules)
        exchanges = 0
        for number, short_id in cassette.all("SELECT id, short_id FROM v_exchange WHERE state = 'done' ORDER BY id"):
            exchanges += 1
            problems += [Problem(short_id, what) for what in _exchange_problems(cassette, matcher, number)]
        problems += _place_problems(cassette)
        return exchanges, problems


def _file_problems(cassette: Cassette) -> Iterator[Problem]:
    try:
        for (said,) in cassette.all("PRAGMA integrity_check(20)"):
            if said != "ok":
                yield Problem("", f"SQLite: {said}")
        for row in cassette.all("PRAGMA foreign_key_check"):
            yield Problem("", f"a row of {row[0]} refers to a row of {row[2]} that is not there")
    except Damaged as error:
        yield Problem("", str(error))


def _exchange_problems(cassette: Cassette, matcher: Matcher, number: int) -> Iterator[str]:
    try:
        exchange = cassette.exchange(number)
    except Damaged as error:
        yield str(error)
        return
    request, response = exchange.request, exchange.response
    key = matcher.key(request)
    stored, status, request_size, response_size, chunks, total_us, ttft_us = cassette.one(
        "SELECT key, status, request_size, response_size, chunks, total_us, ttft_us FROM exchange WHERE id = ?", number
    )
    if key_bytes(key) != stored:
        yield f"its key is {TAG}:{stored.hex()}, its request gives {key}"
    first = facts_of(request, response).first_content
    derived = {
        "status": (status, response.status),
        "request_size": (request_size, len(request.body)),
        "response_size": (response_size, len(response.body)),
        "chunks": (chunks, len(response.cuts)),
        "total_us": (total_us // 10, response.timeline.end // 10_000),
        "ttft_us": (None if ttft_us is None else ttft_us // 10, None if first is None else first // 10_000),
    }
    for column, (said, found) in derived.items():
        if said != found:
            yield f"its row says {column} {said}, its payload {found}"


def _place_problems(cassette: Cassette) -> Iterator[Problem]:
    """Occurrences of a key run from 0 without a gap; else a replay would look for one that is not there."""
    gaps = cassette.all(
        "SELECT key, count(*), max(occurrence) FROM exchange WHERE occurrence IS NOT NULL"
        " GROUP BY key HAVING count(*) <> max(occurrence) + 1"
    )
    for key, count, last in gaps:
        yield Problem("", f"{TAG}:{key.hex()} has {count} recordings, but the last one says it is number {last}")
    for (number,) in cassette.all("SELECT id FROM payload WHERE id / 16 NOT IN (SELECT id FROM exchange)"):
        yield Problem("", f"payload {number} belongs to no exchange")
