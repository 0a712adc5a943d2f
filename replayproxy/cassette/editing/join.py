"""Make one cassette of two that were recorded in front of the servers of a pair, with two legs per exchange.

    client ──▶ recorder (front) ──▶ router ──▶ recorder ──▶ prefill
                                          └──▶ recorder ──▶ decode

Legs are matched by their requests and answers, in this order: the transfer id or room, the request id of the prefill
that the ticket carries, `X-Request-Id`. The client's request is the decode request without the ticket, at the time of
the earlier leg. Both recorders must have the same wall clock: on one machine they have.

A router changes requests (vllm-router adds ten fields with their defaults). With a third recorder in front of the
router, the client's request and answer come from that one. Its legs are found by the id of the answer, then by the
request without defaults and hand-over. Of several equal ones the right one lies within the time of the request.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from replayproxy.cassette.editing.rewrite import (
    finished_exchanges,
    new_cassette,
    refuse_existing,
    write_all,
    write_state,
)
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.watched import Watch, unwatched
from replayproxy.core import headers
from replayproxy.core.coding import body_of, decoded
from replayproxy.core.dialects.facts import transfer_of
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.pd import splits
from replayproxy.core.pd.protocol import REQUEST_ID, json_of, without_hand_over
from replayproxy.model import Exchange, Leg, Response, Timeline

# vLLM, SGLang and OpenAI put it first; a search would find the id of something within.
_ID = re.compile(rb'\{\s*"id"\s*:\s*"([^"\\]{1,256})"')


@dataclass(frozen=True, slots=True)
class Joined:
    """What was written. `alone`: decodes without a prefill, kept as they are; `left`: prefills without a decode.

    With a front, `alone` are its exchanges without legs, kept as they are, and `unseen` are requests to a decode server
    that belong to no exchange of the front, left out.
    """

    pairs: int
    alone: int
    left: int
    unseen: int = 0


def join(out: Path, prefill: Path, decode: Path, front: Path | None = None, watch: Watch = unwatched) -> Joined:
    """Write `out` from two or three cassettes. Raises `CassetteError` if one cannot be read, or if `out` exists."""
    refuse_existing(out)
    if front is not None:
        return _join_behind(front, out, prefill, decode, watch)
    with CassetteReader(prefill) as prefills, CassetteReader(decode) as decodes:
        waiting = _Waiting(finished_exchanges(prefills, watch))
        pairs = 0

        def joined() -> Iterator[Exchange]:
            nonlocal pairs
            for exchange in finished_exchanges(decodes, watch):
                first = waiting.take(exchange) if splits(exchange.request) else None
                pairs += first is not None
                yield _of_pair(exchange, first, str(prefill), str(decode))

        with new_cassette(out, Matcher(decodes.rules, decodes.redactor), watch) as writer:
            exchanges = write_all(writer, joined())
            write_state(writer, decodes, prefills)
    return Joined(pairs, exchanges - pairs, waiting.left)


def _join_behind(front: Path, out: Path, prefill: Path, decode: Path, watch: Watch) -> Joined:
    """Write `out` with the exchanges of the front, and the legs that the router made of each."""
    with CassetteReader(front) as clients, CassetteReader(prefill) as prefills, CassetteReader(decode) as decodes:
        waiting = _Waiting(finished_exchanges(prefills, watch))
        legs = _Legs(
            (each, waiting.take(each) if splits(each.request) else None) for each in finished_exchanges(decodes, watch)
        )
        pairs = 0

        def joined() -> Iterator[Exchange]:
            nonlocal pairs
            for exchange in finished_exchanges(clients, watch):
                last, first = legs.take(exchange)
                pairs += first is not None
                yield _with_legs(exchange, last, first, str(prefill), str(decode))

        with new_cassette(out, Matcher(clients.rules, clients.redactor), watch) as writer:
            exchanges = write_all(writer, joined())
            write_state(writer, clients, decodes, prefills)
    return Joined(pairs, exchanges - pairs, waiting.left, legs.left)


class _Waiting:
    """Prefills whose decode was not found yet, by all ids that match them."""

    def __init__(self, prefills: Iterable[Exchange]) -> None:
        self._by_name: defaultdict[tuple[str, str], deque[int]] = defaultdict(deque)
        self._prefills: dict[int, Exchange] = {}
        for number, exchange in enumerate(prefills):
            if splits(exchange.request):
                self._prefills[number] = exchange
                for name in _names(exchange):
                    self._by_name[name].append(number)

    @property
    def left(self) -> int:
        """How many prefills have no decode."""
        return len(self._prefills)

    def take(self, decode: Exchange) -> Exchange | None:
        """Return and remove the prefill of this decode, if there is one."""
        for name in _names(decode):
            numbers = self._by_name[name]
            while numbers:
                exchange = self._prefills.pop(numbers.popleft(), None)
                if exchange is not None:
                    return exchange
        return None


class _Legs:
    """Decodes, each with its prefill if it has one, whose exchange of the front was not found yet."""

    def __init__(self, pairs: Iterable[tuple[Exchange, Exchange | None]]) -> None:
        self._key = Matcher(MatchRules(defaults=True)).key
        self._by_name: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._pairs = dict(enumerate(pairs))
        for number, (decode, _) in self._pairs.items():
            for name in self._names(decode):
                self._by_name[name].append(number)

    @property
    def left(self) -> int:
        """Return how many requests that a router had split were not matched."""
        return sum(prefill is not None for _, prefill in self._pairs.values())

    def take(self, front: Exchange) -> tuple[Exchange | None, Exchange | None]:
        """Return and remove the decode and the prefill that the router made of this exchange, as far as they exist."""
        for name in self._names(front):
            numbers = [number for number in self._by_name[name] if number in self._pairs]
            within = [number for number in numbers if _lies_within(self._pairs[number][0], front)]
            # An answer's id is one answer's; equal requests may be many, and then only the time tells.
            if chosen := within or (numbers if name[0] == "answer" else []):
                return self._pairs.pop(chosen[0])
        return None, None

    def _names(self, exchange: Exchange) -> list[tuple[str, str]]:
        """Return what matches an exchange of the front, the most certain first."""
        answered = _answer_id(exchange.response)
        names = [("answer", answered)] if answered else []
        return [*names, ("asked", self._key(without_hand_over(exchange.request)))]


def _lies_within(inner: Exchange, outer: Exchange) -> bool:
    ended = [each.recorded_at + each.response.timeline.head for each in (inner, outer)]
    return outer.recorded_at <= inner.recorded_at and ended[0] <= ended[1]


def _answer_id(response: Response) -> str | None:
    """Return the id of a completion, whole or streamed, or None."""
    body = decoded(response)
    found = _ID.match(body.removeprefix(b"data:").lstrip())
    return found[1].decode("latin-1") if found is not None else None


def _with_legs(
    exchange: Exchange, decode: Exchange | None, prefill: Exchange | None, prefill_name: str, decode_name: str
) -> Exchange:
    """Return the exchange of the front with its legs, whose times count from its request."""
    named = (("prefill", prefill_name, prefill), ("decode", decode_name, decode))
    legs = tuple(
        Leg(role, name, each.request, each.response, max(0, each.recorded_at - exchange.recorded_at))
        for role, name, each in named
        if each is not None and prefill is not None
    )
    return replace(exchange, legs=legs)


def _names(exchange: Exchange) -> list[tuple[str, str]]:
    """Return what matches a prefill and its decode, the most certain first."""
    transfer = transfer_of(json_of(body_of(exchange.request)), json_of(exchange.response.body))
    request_id = headers.get(exchange.request.headers, REQUEST_ID)
    return [(kind, name) for kind, name in (("transfer", transfer), ("id", request_id)) if name]


def _of_pair(decode: Exchange, prefill: Exchange | None, prefill_name: str, decode_name: str) -> Exchange:
    """Return one exchange made of two; its times count from the earlier of the two requests."""
    began = min(decode.recorded_at, prefill.recorded_at) if prefill is not None else decode.recorded_at
    offset = decode.recorded_at - began
    request = decode.request
    legs: tuple[Leg, ...] = ()
    if prefill is not None:
        request = without_hand_over(request)
        legs = (
            Leg("prefill", prefill_name, prefill.request, prefill.response, prefill.recorded_at - began),
            Leg("decode", decode_name, decode.request, decode.response, offset),
        )
    timeline = decode.response.timeline
    shifted = Timeline(timeline.head + offset, tuple(at + offset for at in timeline.chunks), timeline.end + offset)
    response = replace(decode.response, timeline=shifted)
    return replace(decode, request=request, response=response, recorded_at=began, legs=legs)
