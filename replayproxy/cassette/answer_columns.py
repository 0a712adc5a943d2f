"""Read what statistics need of very many exchanges: columns of some thousand exchanges each, and the legs of pairs.

    exchange ── json_group_array, 32 768 rows at a time, in a thread ahead ──▶ orjson ──▶ AnswerColumns

SQLite makes one JSON array per column, which takes a tenth of the time in which Python is given the same rows; while it
makes the next ones, what was read is counted. Trusts no row: a damaged page may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import NoneType
from typing import Any, cast

import orjson

from replayproxy.cassette.queries import typed
from replayproxy.cassette.reader import CassetteReader
from replayproxy.errors import Damaged
from replayproxy.model import Ending
from replayproxy.views.port import AnswerColumns, AnswerKind, LegRow

PART = 32_768
"""Exchanges that are read at once: some MB of JSON."""

_MEASURED = "state = 1 AND ending = 0 AND status BETWEEN 200 AND 399"

# Endpoint, status, ending, state and stream in one number. A status has ten bits; what has more counts as 1023.
_CODE = "((endpoint * 1024 + max(0, min(status, 1023))) * 8 + coalesce(ending, 7)) * 4 + state * 2 + stream"

# `views.starvation.delay` computes the same of a row.
_STARVED = (
    "stream AND chunks > 1 AND starved_us > 0 AND 2 * starved_us * (chunks - 1) >= total_us - coalesce(ttft_us, 0)"
)

_TPOT = "CASE WHEN completion_tokens > 1 THEN (total_us - ttft_us) * 1000 / (completion_tokens - 1) END"

_OTHERS = f"SELECT json_group_array({_CODE}), json_group_array(recorded_at / 1000) FROM exchange"

_ANSWERS = (
    f"SELECT json_group_array({_CODE}), json_group_array(recorded_at / 1000), json_group_array(id),"
    " json_group_array(ttft_us), json_group_array(total_us),"
    f" json_group_array({_TPOT}), json_group_array(completion_tokens),"
    f" json_group_array(json_array({_CODE}, recorded_at / 1000, starved_us)) FILTER (WHERE {_STARVED}) FROM exchange"
)

_LEGS = (
    "SELECT leg.exchange, leg, role, upstream, leg.method, leg.path, leg.status, leg.ending, started_us, head_us,"
    " leg.total_us, exchange.recorded_at FROM leg JOIN exchange ON exchange.id = leg.exchange WHERE leg.exchange IN"
)


def read_columns(
    cassette: CassetteReader, condition: str | None, parameters: Mapping[str, Any]
) -> Iterator[AnswerColumns]:
    """The columns of all exchanges that meet a condition on `v_exchange`, or of all.

    Raises `Damaged`, and `SettingsError` for a condition that cannot run.
    """
    kinds = _Kinds(cassette)

    def read(first: int, last: int) -> list[tuple[Any, ...]]:
        span = "id BETWEEN :replayproxy_first AND :replayproxy_last"
        if condition is not None:
            chosen = f"number BETWEEN :replayproxy_first AND :replayproxy_last AND {condition}"
            span = f"id IN (SELECT number FROM v_exchange WHERE {chosen})"
        bound = {**parameters, "replayproxy_first": first, "replayproxy_last": last}
        return [
            *cassette.select(f"{_OTHERS} WHERE {span} AND NOT ({_MEASURED})", bound),
            *cassette.select(f"{_ANSWERS} WHERE {span} AND {_MEASURED}", bound),
        ]

    parts = list(_parts(cassette))
    if len(parts) < 2:
        for part in parts:
            yield from kinds.columns(*read(*part))
        return
    with ThreadPoolExecutor(1, "replayproxy-columns") as ahead:
        coming = ahead.submit(read, *parts[0])
        for following in [*parts[1:], None]:
            found = coming.result()
            if following is not None:
                coming = ahead.submit(read, *following)
            yield from kinds.columns(*found)


def _parts(cassette: CassetteReader) -> Iterator[tuple[int, int]]:
    """The first and the last number of each part. Numbers may have gaps of any width."""
    sql = "SELECT id FROM exchange WHERE id >= ? ORDER BY id LIMIT 1 OFFSET ?"
    first = cassette.all(sql, -(2**63), 0)
    while first:
        start = int(first[0][0])
        following = cassette.all(sql, start, PART)
        yield start, int(following[0][0]) - 1 if following else 2**63 - 1
        first = following


class _Kinds:
    """The kinds of exchanges of one cassette, by their codes."""

    def __init__(self, cassette: CassetteReader) -> None:
        self._cassette = cassette
        self._kinds: dict[int, AnswerKind] = {}

    def columns(self, others: tuple[Any, ...], answers: tuple[Any, ...]) -> Iterator[AnswerColumns]:
        """What was read of one part: the exchanges that are not measured, and those that are."""
        codes, at_us = (self._whole_numbers(text) for text in others)
        if codes:
            yield AnswerColumns(self._of(codes), codes, at_us)
        codes, at_us, numbers, total = (self._whole_numbers(answers[place]) for place in (0, 1, 2, 4))
        ttft, tpot, tokens = (self._column(answers[place], int, NoneType) for place in (3, 5, 6))
        starved = [(code, at, delay) for code, at, delay in self._column(answers[7], list)]
        if codes:
            kinds = self._of(codes)
            yield AnswerColumns(kinds, codes, at_us, True, numbers, ttft, total, tpot, tokens, starved)

    def _whole_numbers(self, text: object) -> list[int]:
        values = orjson.loads(cast(str, text))
        try:
            is_whole = type(sum(values)) is int  # a third of the time that looking at each type takes
        except TypeError:
            is_whole = False
        if not is_whole:
            raise Damaged(f"{self._cassette.path} has columns of the wrong type: restore it from a copy")
        return cast(list[int], values)

    def _column(self, text: object, *types: type) -> list[Any]:
        values = orjson.loads(cast(str, text))
        if not set(map(type, values)) <= set(types):
            raise Damaged(f"{self._cassette.path} has columns of the wrong type: restore it from a copy")
        return cast(list[Any], values)

    def _of(self, codes: list[int]) -> Mapping[int, AnswerKind]:
        for code in set(codes) - self._kinds.keys():
            endpoint, state = code >> 15, code & 0x7FFF
            found = self._cassette.all("SELECT method, path, model FROM endpoint WHERE id = ?", endpoint)
            if not found:
                raise Damaged(f"{self._cassette.path} has lost an endpoint of its exchanges: restore it from a copy")
            method, path, model = typed(found[0], str, str, str | None)
            self._kinds[code] = AnswerKind(
                method, path, model, bool(state & 1), state >> 5, bool(state & 2), _ending_name(state >> 2 & 7)
            )
        return self._kinds


def _ending_name(number: int | None) -> str | None:
    """The name of an ending, as `v_exchange` has it."""
    return next((ending.name.lower() for ending in Ending if ending == number), None)


def read_legs(cassette: CassetteReader, condition: str, parameters: Mapping[str, Any]) -> Iterator[LegRow]:
    """The legs of all exchanges that meet a condition on `v_exchange`. Raises as `read_columns`."""
    if not cassette.all("SELECT 1 FROM leg LIMIT 1"):
        return
    sql = f"{_LEGS} (SELECT number FROM v_exchange WHERE {condition}) ORDER BY leg.exchange, leg"
    for row in cassette.select(sql, parameters):
        exchange, leg, role, upstream, method, path, status, ending, started, head, total, at = typed(
            row, int, int, str, str, str, str, int, int, int, int, int, int
        )
        yield {
            "exchange": exchange,
            "leg": leg,
            "role": role,
            "upstream": upstream,
            "method": method,
            "path": path,
            "status": status,
            "ending": _ending_name(ending),
            "started_s": started / 1e6,
            "head_s": head / 1e6,
            "total_s": total / 1e6,
            "at": at,
        }
