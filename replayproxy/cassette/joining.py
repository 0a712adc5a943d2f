"""Two cassettes, recorded in front of the servers of somebody else's pair, become one with two legs an exchange.

Legs find each other by what their requests and answers say, in this order: the transfer id or room, the prefill's
request id that the ticket carries, `X-Request-Id`. What the client asked is the decode's request without the ticket;
when, is the earlier of the two. The two recorders' wall clocks are believed: on one machine they are one.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from replayproxy.cassette.cassette import Cassette
from replayproxy.cassette.keeper import Keeper
from replayproxy.core import headers
from replayproxy.core.coding import body_of
from replayproxy.core.matching import Matcher
from replayproxy.core.openai import transfer_of
from replayproxy.core.pd import splits
from replayproxy.core.pd.legs import REQUEST_ID, json_of, without_hand_over
from replayproxy.errors import CassetteError
from replayproxy.model import Exchange, Leg, Timeline
from replayproxy.ports import Piece


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of it. `alone`: decodes without a prefill, kept as they are; `left`: prefills without a decode."""

    pairs: int
    alone: int
    left: int


def join(out: Path, prefill: Path, decode: Path) -> Joined:
    """Write `out` from the two. Raises `CassetteError` where one cannot be read, or `out` is there already."""
    if out.exists():
        raise CassetteError(f"{out} is there already: name another file, or remove it")
    with Cassette(prefill) as prefills, Cassette(decode) as decodes:
        waiting = _Waiting(_done(prefills))
        keeper = Keeper(out, Matcher(decodes.rules, decodes.redactor))
        pairs = alone = 0
        tapes = count(1)
        try:
            for exchange in _done(decodes):
                first = waiting.take(exchange) if splits(exchange.request) else None
                keeper.begin()
                keeper.keep(_piece(next(tapes), exchange, first, str(prefill), str(decode)))
                keeper.commit()
                pairs, alone = (pairs + 1, alone) if first is not None else (pairs, alone + 1)
            keeper.seal()
        except BaseException:
            keeper.close()
            raise
    return Joined(pairs, alone, waiting.left)


def _done(cassette: Cassette) -> Iterable[Exchange]:
    return (cassette.exchange(row["number"]) for row in cassette.rows("state = 'done'"))


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


def _names(exchange: Exchange) -> list[tuple[str, str]]:
    """What joins, the strongest first."""
    transfer = transfer_of(json_of(body_of(exchange.request)), json_of(exchange.response.body))
    request_id = headers.get(exchange.request.headers, REQUEST_ID)
    return [(kind, name) for kind, name in (("transfer", transfer), ("id", request_id)) if name]


def _piece(tape: int, decode: Exchange, prefill: Exchange | None, prefill_name: str, decode_name: str) -> Piece:
    """One exchange out of two, on the clock of the one that was asked first."""
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
    return Piece.of(tape, replace(decode, request=request, response=response, recorded_at=began, legs=legs))
