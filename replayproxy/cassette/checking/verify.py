"""Derive again everything a cassette says of itself, and compare. Reads all of it; changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from replayproxy.cassette.columns import derived_columns, model_of
from replayproxy.cassette.queries import typed
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.server_state import problems_of
from replayproxy.cassette.stored_keys import key_bytes
from replayproxy.cassette.watched import Watch, unwatched, watched
from replayproxy.core import coding
from replayproxy.core.answers import fault_in_answer
from replayproxy.core.dialects.facts import facts_of
from replayproxy.core.dialects.stream_end import missing_end
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.identity.sketch import sketch
from replayproxy.errors import CassetteError, Damaged, SettingsError
from replayproxy.model import KEY_TAG, Exchange, Request

AT_ONCE = 1000
"""Rows that are read before what they say is checked."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written. `where` names the recording, or is empty for the file.

    `is_recorded`: the server answered so, and the file holds it as it should.
    """

    where: str
    what: str
    is_recorded: bool = False


def verify(path: Path, missing_ends: Counter[str] | None = None, watch: Watch = unwatched) -> tuple[int, list[Problem]]:
    """How many exchanges there are, and every problem. Raises `CassetteError` where the file cannot be opened.

    `missing_ends` counts the streams that are whole as HTTP and lack the event that ends them, by its name.
    """
    missing_ends = Counter() if missing_ends is None else missing_ends
    with CassetteReader(path) as cassette:
        problems = list(_file_problems(cassette))
        if problems:
            return 0, problems  # nothing that a broken file says can be compared
        try:
            matcher = Matcher(cassette.rules, cassette.redactor)
        except (Damaged, SettingsError) as error:
            return 0, [Problem("", str(error))]
        exchanges = 0
        (of,) = typed(cassette.one("SELECT count(*) FROM exchange WHERE state = 1"), int)
        for number, name in watched(_finished(cassette), "exchanges verified", of, watch):
            exchanges += 1
            try:
                exchange = cassette.exchange(number)
            except CassetteError as error:
                problems.append(Problem(name, str(error)))
                continue
            problems += [Problem(name, what) for what in _exchange_problems(cassette, matcher, number, exchange)]
            if (fault := fault_in_answer(exchange.request.method, exchange.response)) is not None:
                what = f"its answer must not be sent to a client: {fault}"
                problems.append(Problem(name, what, is_recorded=True))
            if (label := missing_end(exchange.request.path, exchange.response)) is not None:
                missing_ends[label] += 1
        problems += _place_problems(cassette)
        problems += [Problem("", what) for what in problems_of(cassette)]
        return exchanges, problems


def _finished(cassette: CassetteReader) -> Iterator[tuple[int, str]]:
    """Number and id of each finished exchange, read in parts: the list of ten million would take 2 GB."""
    sql = f"SELECT number, id FROM v_exchange WHERE state = 'done' AND number > ? ORDER BY number LIMIT {AT_ONCE:d}"
    last = -(2**63)
    while some := cassette.all(sql, last):
        yield from some
        last = some[-1][0]


def _file_problems(cassette: CassetteReader) -> Iterator[Problem]:
    try:
        # Of our tables alone, where there are others: what a stranger's table computes is not computed here.
        tables = [f"({name})" for name in cassette.stored.tables]
        for which in tables if cassette.foreign else ["(20)"]:
            for (stored,) in cassette.all(f"PRAGMA main.integrity_check{which}"):
                if stored != "ok":
                    yield Problem("", f"SQLite: {stored}")
        for which in tables:
            for row in cassette.all(f"PRAGMA main.foreign_key_check{which}"):
                yield Problem("", f"a row of {row[0]} refers to a row of {row[2]} that is not there")
        for row in cassette.all("SELECT id, kind, content FROM dictionary"):
            number, kind, content = typed(row, int, str, bytes)
            learner = cassette.fresh_codec()
            learner.row = "dictionary", number
            learner.learn(number, kind, content)
    except Damaged as error:
        yield Problem("", str(error))


def _exchange_problems(cassette: CassetteReader, matcher: Matcher, number: int, exchange: Exchange) -> Iterator[str]:
    request, response = exchange.request, exchange.response
    key = matcher.key(request)
    (stored,) = cassette.one("SELECT key FROM exchange WHERE id = ?", number)
    if key_bytes(key) != stored:
        why = _why_another_key(cassette, matcher, request, stored)
        yield f"its key is {KEY_TAG}:{stored.hex()}, its request gives {key}{why}"
    else:
        (sketched,) = cassette.one("SELECT sketch FROM exchange WHERE id = ?", number)
        if sketched is not None and sketched != sketch(matcher.compared(request)):
            yield "its sketch is not that of its request: it would not be found near a miss"
    facts = facts_of(request, response)
    derived = derived_columns(request, response, facts)
    if cassette.stored.number == 1:
        del derived["opaque"]  # this format does not say it
    derived["model"] = model_of(facts)
    stored = cassette.one(
        f"SELECT {', '.join(derived)} FROM exchange JOIN endpoint ON endpoint.id = endpoint WHERE exchange.id = ?",
        number,
    )
    for (column, found), written in zip(derived.items(), stored, strict=True):
        if written != found:
            yield f"its row says {column} {written}, its payload {found}"
    rows = cassette.all("SELECT role, head_us, total_us FROM leg WHERE exchange = ? ORDER BY leg", number)
    for leg, (role, *times) in zip(exchange.legs, rows, strict=True):
        timeline = leg.response.timeline
        if times != [timeline.head // 1000, timeline.end // 1000]:
            yield f"its {role} leg says that it began and ended at {times} us, its payload says another time"


def _why_another_key(cassette: CassetteReader, matcher: Matcher, request: Request, stored: bytes) -> str:
    """What made the key of an older format another one, and what to do.

    The digest is over the key too, and has been found right: such a key is not damage.
    """
    if cassette.stored.number > 1:  # those of format 1 may be of another time
        return ""
    pairs = sorted(parse_qsl(request.query, keep_blank_values=True, encoding="latin-1"))
    sorted_query = f"{request.path}?{urlencode(pairs, encoding='latin-1')}"
    if key_bytes(matcher.key(replace(request, target=sorted_query))) == stored:
        why = "the values of a repeated query name were sorted when it was recorded, and their order counts today"
    elif coding.is_coded(request.headers):
        why = "its body was compared in its content coding when it was recorded, and is compared as it reads today"
    else:
        why = "its request was compared otherwise when it was recorded"
    return f" ({why}: until `replayproxy migrate {cassette.path}` has given it today's key, such a request misses it)"


def _place_problems(cassette: CassetteReader) -> Iterator[Problem]:
    """Occurrences of a key run from 0 without a gap; else a replay would look for one that is not there."""
    gaps = cassette.all(
        "SELECT key, count(*), min(occurrence), max(occurrence) FROM exchange WHERE occurrence IS NOT NULL"
        " GROUP BY key HAVING min(occurrence) <> 0 OR count(*) <> max(occurrence) + 1"
    )
    # SQLite looks at no CHECK constraint of a file that it may only read.
    contradictions = cassette.all(
        "SELECT id FROM exchange WHERE (state = 1) <> (ending IS NOT NULL)"
        " OR (occurrence IS NOT NULL AND (state <> 1 OR ending NOT IN (0, 2) OR request_cut IS NOT NULL))"
    )
    for (number,) in contradictions:
        yield Problem("", f"exchange {number} contradicts itself: open and ended, or broken and playable")
    for key, count, first, last in gaps:
        yield Problem("", f"{KEY_TAG}:{key.hex()} has {count} recordings, but they are numbered from {first} to {last}")
    left = " OR (ending = 'client_left' AND status > 0)" if cassette.stored.number > 1 else ""
    whole = (
        "SELECT id FROM v_exchange WHERE state = 'done' AND occurrence IS NULL AND request_cut = 0"
        f" AND (ending = 'complete'{left})"
    )
    for (name,) in cassette.all(whole):
        yield Problem(name, "it is complete, but has no place among the recordings of its key")
    # Format 1 numbered them as they ended.
    late = (
        "SELECT later.id FROM exchange JOIN exchange AS later ON later.key = exchange.key"
        " AND later.occurrence = exchange.occurrence + 1"
        " WHERE (later.recorded_at, later.id) < (exchange.recorded_at, exchange.id)"
    )
    for (number,) in cassette.all(late) if cassette.stored.number > 1 else ():
        yield Problem("", f"exchange {number} was asked before the one that is played before it")
    unseen = "SELECT id FROM exchange WHERE (occurrence IS 0) <> (sketch IS NOT NULL)"
    for (number,) in cassette.all(unseen):
        yield Problem("", f"exchange {number} has no sketch, or one that another of its key should have")
    yield from _bundled(cassette)
    for (number,) in cassette.all(cassette.stored.orphans) if cassette.stored.orphans else ():
        yield Problem("", f"payload {number} belongs to no exchange")
    folded = (
        "SELECT DISTINCT segment.exchange FROM segment"
        " JOIN main.exchange AS written ON written.id = segment.exchange WHERE written.state = 1"
    )
    for (number,) in cassette.all(folded):
        yield Problem("", f"exchange {number} is done, but has segments of a stream in flight")


def _bundled(cassette: CassetteReader) -> Iterator[Problem]:
    try:
        for bundle in cassette.bundles():
            for number in bundle.numbers:
                there = cassette.one(
                    "SELECT EXISTS (SELECT 1 FROM exchange WHERE id = ?),"
                    " EXISTS (SELECT 1 FROM payload WHERE exchange = ?)",
                    *(number, number),
                )
                if there != (1, 0):
                    yield Problem("", f"exchange {number} in a bundle is not there, or has another payload too")
    except Damaged as error:
        yield Problem("", str(error))
