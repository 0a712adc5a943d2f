"""Two cassettes, recorded in front of the servers of somebody else's pair, become one with two legs an exchange.

    client ──▶ recorder (front) ──▶ router ──▶ recorder ──▶ prefill
                                          └──▶ recorder ──▶ decode

Legs find each other by what their requests and answers say, in this order: the transfer id or room, the prefill's
request id that the ticket carries, `X-Request-Id`. What the client asked is the decode's request without the ticket;
when, is the earlier of the two. The two recorders' wall clocks are believed: on one machine they are one.

A router changes requests (vllm-router adds ten fields with their defaults). With a third recorder in front of it, what
the client asked and got is as that one has it. It finds its legs by the answer's id, then by what was asked without
defaults and hand-over; of several by its time, for a request outlasts those that it causes.
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
    """What became of it. `alone`: decodes without a prefill, kept as they are; `left`: prefills without a decode.

    With a front: `alone` are its exchanges without legs, kept as they are; `unseen` what reached a decode server and no
    client of the front asked for, left out.
    """

    pairs: int
    alone: int
    left: int
    unseen: int = 0


def join(out: Path, prefill: Path, decode: Path, front: Path | None = None, watch: Watch = unwatched) -> Joined:
    """Write `out` from the two or three. Raises `CassetteError` where one cannot be read, or `out` is there already."""
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
    """Prefills that have not found their decode yet, by all names they have."""

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
        """How many are waiting still."""
        return len(self._prefills)

    def take(self, decode: Exchange) -> Exchange | None:
        """The prefill of this decode, which then waits no more."""
        for name in _names(decode):
            numbers = self._by_name[name]
            while numbers:
                exchange = self._prefills.pop(numbers.popleft(), None)
                if exchange is not None:
                    return exchange
        return None


class _Legs:
    """Decodes, each with its prefill if it has one, that have not found what their router was asked."""

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
        """The decode and the prefill that this became, as far as there are any; which then wait no more."""
        for name in self._names(front):
            numbers = [number for number in self._by_name[name] if number in self._pairs]
            within = [number for number in numbers if _lies_within(self._pairs[number][0], front)]
            # An answer's id is one answer's; equal requests may be many, and then only the time tells.
            if chosen := within or (numbers if name[0] == "answer" else []):
                return self._pairs.pop(chosen[0])
        return None, None

    def _names(self, exchange: Exchange) -> list[tuple[str, str]]:
        """What finds a front's exchange, the strongest first."""
        answered = _answer_id(exchange.response)
        names = [("answer", answered)] if answered else []
        return [*names, ("asked", self._key(without_hand_over(exchange.request)))]


def _lies_within(inner: Exchange, outer: Exchange) -> bool:
    ended = [each.recorded_at + each.response.timeline.head for each in (inner, outer)]
    return outer.recorded_at <= inner.recorded_at and ended[0] <= ended[1]


def _answer_id(response: Response) -> str | None:
    """The id of a completion, whole or streamed; None where it has none."""
    body = decoded(response)
    found = _ID.match(body.removeprefix(b"data:").lstrip())
    return found[1].decode("latin-1") if found is not None else None


def _with_legs(
    exchange: Exchange, decode: Exchange | None, prefill: Exchange | None, prefill_name: str, decode_name: str
) -> Exchange:
    """The front's exchange, with the legs on its clock."""
    named = (("prefill", prefill_name, prefill), ("decode", decode_name, decode))
    legs = tuple(
        Leg(role, name, each.request, each.response, max(0, each.recorded_at - exchange.recorded_at))
        for role, name, each in named
        if each is not None and prefill is not None
    )
    return replace(exchange, legs=legs)


def _names(exchange: Exchange) -> list[tuple[str, str]]:
    """What joins, the strongest first."""
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
