"""What becomes of a request, in every mode: whole conversations between client, proxy, server and archive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.policy import PROBES, Mode, OnMiss
from replayproxy.core.redaction import Redactor
from replayproxy.core.selection import Selection
from replayproxy.core.sequence import AtEnd, Playhead
from replayproxy.core.timing import Pace
from replayproxy.errors import ClientError, Damaged, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import Chunk, Ending, Headers, RecordingRef, Request, Response
from replayproxy.ports import Listener, Upload, Worker
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.handler import ReplayProxy
from replayproxy.proxy.misses import Misses
from replayproxy.proxy.player import Player
from replayproxy.proxy.recorder import Recorder
from replayproxy.proxy.run_state import RunState
from tests.doubles.fakes import (
    JSON,
    MILLISECOND,
    FakeSource,
    HearingListener,
    InMemoryArchive,
    InMemoryShelf,
    ManualClock,
    answer,
)

MATCHER = Matcher(MatchRules())
CHAT = "/v1/chat/completions"


def ms(*chunks: tuple[int, bytes], **more: Any) -> Response:
    """An answer with times in milliseconds."""
    return answer(*((at * MILLISECOND, data) for at, data in chunks), **more)


def asks(target: str = CHAT, body: bytes = b'{"prompt":"a"}', headers: Headers = ()) -> Request:
    """A client's question."""
    return Request("POST", target, headers, body)


@dataclass
class Inventor:
    """A simulator that plays what a function makes of the request."""

    invent: Callable[[Request], Response]
    clock: ManualClock

    async def play(
        self, request: Request, listener: Listener, upload: Upload | None = None, received_at: int | None = None
    ) -> None:
        """Play it at once."""
        await Player(self.clock, Pace(None), Counters()).play_response(self.invent(request), listener, 0)


@dataclass
class House:
    """A proxy among fakes; `log` is the conversation."""

    mode: Mode
    on_miss: OnMiss = OnMiss.REFUSE
    at_end: AtEnd = AtEnd.CYCLE
    recordings: Sequence[tuple[Request, Response]] = ()
    server: Sequence[Response | UpstreamError | tuple[Response, Callable[[], None]]] = ()
    wanted: Callable[[Request], bool] = lambda _: True
    invent: Callable[[Request], Response] | None = None
    matcher: Matcher = MATCHER
    worker: Worker | None = None
    log: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.tally = Counters()
        self.misses = Misses()
        self.shelf = InMemoryShelf()
        for request, response in self.recordings:
            self.shelf.put(MATCHER.key(request), response)
        self.archive = InMemoryArchive(self.log, self.shelf)
        self.upstream = FakeSource(self.log, self.clock, self.server)
        records = self.mode in (Mode.RECORD, Mode.AUTO) or self.on_miss is OnMiss.RECORD
        redactor = Redactor(b"0123456789abcdef")
        self.recorder = Recorder(self.archive, self.clock, self.tally, redactor) if records else None
        self.proxy = ReplayProxy(
            self.mode,
            self.on_miss,
            clock=self.clock,
            player=Player(self.clock, Pace(None), self.tally),
            state=RunState(
                Playhead(AtEnd.REFUSE if self.mode is Mode.AUTO else self.at_end, records=records),
                self.tally,
                self.misses,
            ),
            matcher=self.matcher,
            worker=self.worker,
            store=self.shelf if self.mode in (Mode.REPLAY, Mode.AUTO) else None,
            upstream=self.upstream if self.server else None,
            recorder=self.recorder,
            simulator=Inventor(self.invent, self.clock) if self.invent is not None else None,
            is_recorded=self.wanted,
        )

    def ask(self, *requests: Request) -> list[str]:
        """One request after the other; the conversation so far."""

        async def one_by_one() -> None:
            for request in requests:
                await self.proxy.answer(request, HearingListener(self.log, self.clock))

        asyncio.run(one_by_one())
        return self.log


ONE, TWO = ms((5, b"one"), (7, b"and a half")), ms((1, b"two"))
A, B = asks(), asks(body=b'{"prompt":"b"}')


DIALOGUES: dict[str, tuple[House, list[Request], list[str]]] = {
    "record: every request is asked and kept, also the second equal one": (
        House(Mode.RECORD, server=[ONE, TWO]),
        [A, A],
        [
            f"0 server is asked for POST {CHAT}",
            "5 client hears 200",
            "5 client hears one",
            "7 client hears and a half",
            "7 client hears the end: COMPLETE",
            "kept one and a half",
            f"7 server is asked for POST {CHAT}",
            "8 client hears 200",
            "8 client hears two",
            "8 client hears the end: COMPLETE",
            "kept two",
        ],
    ),
    "record: what is not wanted is forwarded": (
        House(Mode.RECORD, server=[TWO], wanted=lambda request: request is not A),
        [A],
        [
            f"0 server is asked for POST {CHAT}",
            "1 client hears 200",
            "1 client hears two",
            "1 client hears the end: COMPLETE",
        ],
    ),
    "replay: equal requests get the recordings in order, and around again": (
        House(Mode.REPLAY, recordings=[(A, ONE), (A, TWO), (B, TWO)]),
        [A, A, A],
        [
            "0 client hears 200",
            "0 client hears at once one and a half",
            "0 client hears the end: COMPLETE",
            "0 client hears 200",
            "0 client hears at once two",
            "0 client hears the end: COMPLETE",
            "0 client hears 200",
            "0 client hears at once one and a half",
            "0 client hears the end: COMPLETE",
        ],
    ),
    "replay, at the end: the last one for ever": (
        House(Mode.REPLAY, at_end=AtEnd.LAST, recordings=[(A, ONE), (A, TWO)]),
        [A, A, A],
        [
            *("0 client hears 200", "0 client hears at once one and a half", "0 client hears the end: COMPLETE"),
            *("0 client hears 200", "0 client hears at once two", "0 client hears the end: COMPLETE"),
            *("0 client hears 200", "0 client hears at once two", "0 client hears the end: COMPLETE"),
        ],
    ),
    "replay, miss forwarded: asked and not kept": (
        House(Mode.REPLAY, OnMiss.FORWARD, recordings=[(A, ONE)], server=[TWO]),
        [B, A],
        [
            f"0 server is asked for POST {CHAT}",
            "1 client hears 200",
            "1 client hears two",
            "1 client hears the end: COMPLETE",
            "1 client hears 200",
            "1 client hears at once one and a half",
            "1 client hears the end: COMPLETE",
        ],
    ),
    "replay, miss recorded: asked, kept, and played from then on": (
        House(Mode.REPLAY, OnMiss.RECORD, server=[TWO]),
        [B, B],
        [
            f"0 server is asked for POST {CHAT}",
            "1 client hears 200",
            "1 client hears two",
            "1 client hears the end: COMPLETE",
            "kept two",
            "1 client hears 200",
            "1 client hears at once two",
            "1 client hears the end: COMPLETE",
        ],
    ),
    "replay, miss simulated: invented": (
        House(Mode.REPLAY, OnMiss.SIMULATE, invent=lambda request: answer((0, b"about " + request.body))),
        [B],
        [
            "0 client hears 200",
            '0 client hears at once about {"prompt":"b"}',
            "0 client hears the end: COMPLETE",
        ],
    ),
    "simulate: everything is invented": (
        House(Mode.SIMULATE, invent=lambda request: answer((0, b"about " + request.path.encode()))),
        [A],
        [
            "0 client hears 200",
            f"0 client hears at once about {CHAT}",
            "0 client hears the end: COMPLETE",
        ],
    ),
    "auto: what is there is played, what is not is recorded, and a second equal request is no echo of the first": (
        House(Mode.AUTO, recordings=[(A, ONE)], server=[TWO]),
        [A, A, B, B],
        [
            "0 client hears 200",
            "0 client hears at once one and a half",
            "0 client hears the end: COMPLETE",
            f"0 server is asked for POST {CHAT}",
            "1 client hears 200",
            "1 client hears two",
            "1 client hears the end: COMPLETE",
            "kept two",
            f"1 server is asked for POST {CHAT}",
            "2 client hears 200",
            "2 client hears two",
            "2 client hears the end: COMPLETE",
            "kept two",
            f"2 server is asked for POST {CHAT}",
            "3 client hears 200",
            "3 client hears two",
            "3 client hears the end: COMPLETE",
            "kept two",
        ],
    ),
    "auto: what is not wanted is forwarded, and played where it was recorded before": (
        House(Mode.AUTO, recordings=[(A, ONE)], server=[TWO], wanted=lambda _: False),
        [A, B],
        [
            "0 client hears 200",
            "0 client hears at once one and a half",
            "0 client hears the end: COMPLETE",
            f"0 server is asked for POST {CHAT}",
            "1 client hears 200",
            "1 client hears two",
            "1 client hears the end: COMPLETE",
        ],
    ),
    "auto: each scope walks by itself, so a second one plays what the first one recorded": (
        House(Mode.AUTO, server=[ONE, TWO]),
        [asks(f"/t/x{CHAT}"), asks(f"/t/y{CHAT}"), asks(headers=(("X-Replayproxy-Scope", "x"),))],
        [
            f"0 server is asked for POST {CHAT}",
            "5 client hears 200",
            "5 client hears one",
            "7 client hears and a half",
            "7 client hears the end: COMPLETE",
            "kept one and a half",
            "7 client hears 200",
            "7 client hears at once one and a half",
            "7 client hears the end: COMPLETE",
            f"7 server is asked for POST {CHAT}",
            "8 client hears 200",
            "8 client hears two",
            "8 client hears the end: COMPLETE",
            "kept two",
        ],
    ),
    "replay: each scope walks by itself, named by path or header": (
        House(Mode.REPLAY, at_end=AtEnd.LAST, recordings=[(A, ONE), (A, TWO)]),
        [A, asks(f"/t/x{CHAT}"), asks(headers=(("x-replayproxy-scope", "x"),)), A],
        [
            *("0 client hears 200", "0 client hears at once one and a half", "0 client hears the end: COMPLETE"),
            *("0 client hears 200", "0 client hears at once one and a half", "0 client hears the end: COMPLETE"),
            *("0 client hears 200", "0 client hears at once two", "0 client hears the end: COMPLETE"),
            *("0 client hears 200", "0 client hears at once two", "0 client hears the end: COMPLETE"),
        ],
    ),
    "record: nothing in a request is ours, so what looks like a scope belongs to the server": (
        House(Mode.RECORD, server=[TWO]),
        [asks(f"/t/x{CHAT}")],
        [
            f"0 server is asked for POST /t/x{CHAT}",
            "1 client hears 200",
            "1 client hears two",
            "1 client hears the end: COMPLETE",
            "kept two",
        ],
    ),
}


@pytest.mark.parametrize(("house", "requests", "conversation"), DIALOGUES.values(), ids=DIALOGUES.keys())
def test_conversations(house: House, requests: list[Request], conversation: list[str]) -> None:
    """Each mode does what its line says, to the word, and nothing else."""
    house = replace(house)  # as if it had never been asked
    assert house.ask(*requests) == conversation
    assert house.tally.in_flight == 0


def test_a_refused_miss_explains_itself_and_asks_nobody() -> None:
    """404 with its code; there is no server to ask, and nothing is raised."""
    broken = ms((1, b"half"), ending=Ending.UPSTREAM_CUT)
    house = House(Mode.REPLAY, at_end=AtEnd.REFUSE, recordings=[(A, ONE), (B, broken)])
    house.ask(A, A, B, asks("/v1/else"))
    statuses = [line.split()[3] for line in house.log if len(line.split()) == 4]
    assert statuses == ["200", "404", "404", "404"]
    assert house.tally.misses == {"exhausted": 1, "incomplete_only": 1, "nothing_close": 1}
    assert house.tally.requests == {"replay": 1, "refuse": 3}
    codes = [(miss.code, miss.recorded, miss.request_count) for _, miss, _ in house.misses.causes.values()]
    assert codes == [("exhausted", 1, 2), ("incomplete_only", 1, 1), ("nothing_close", 0, 1)]


def test_a_miss_shows_no_secret() -> None:
    """Neither the path nor the scope of who asked, also beside a cassette that is older than redaction."""
    house = House(Mode.REPLAY)
    key = "s3cret-k3y-0123"
    house.ask(asks(f"/t/{key}/v1/keys/{key}?key={key}", headers=(("Authorization", f"Bearer {key}"),)))
    ((_, miss, _),) = house.misses.causes.values()
    assert key not in repr(miss)
    assert "/v1/keys/*~redacted~***" in miss.sentence


PROBING: list[tuple[Mode, list[str]]] = [
    (Mode.RECORD, ["server", "client hears 200", "client hears up", "client hears the end: COMPLETE"]),
    (Mode.AUTO, ["server", "client hears 200", "client hears up", "client hears the end: COMPLETE"]),
    (Mode.REPLAY, ["client hears 200", "client hears at once", "client hears the end: COMPLETE"]),
    (Mode.SIMULATE, ["client hears 200", "client hears at once", "client hears the end: COMPLETE"]),
]


@pytest.mark.parametrize("path", sorted(PROBES))
@pytest.mark.parametrize(("mode", "conversation"), PROBING)
def test_probes_are_about_the_server_that_is_there(mode: Mode, conversation: list[str], path: str) -> None:
    """Forwarded live and never kept; where there is no server, answered for it, and never missed."""
    house = House(
        mode,
        server=[ms((0, b"up"))] if mode in (Mode.RECORD, Mode.AUTO) else (),
        invent=lambda _: answer((0, b"up")),
    )
    scope = "/t/x" if mode in (Mode.REPLAY, Mode.AUTO) else ""  # there is none where nothing is looked up
    house.ask(Request("GET", f"{scope}{path}?now"))
    said = [line.partition(" ")[2] for line in house.log]
    assert [
        "server" if line.startswith("server") else "client hears at once" if "at once" in line else line
        for line in said
    ] == conversation
    assert house.archive.pieces == []
    assert house.tally.misses == {}


def test_only_what_may_be_recorded_uses_up_the_sample() -> None:
    """`--sample 0.5` records every second wanted request, however many probes and replays come in between."""
    house = House(Mode.AUTO, recordings=[(A, ONE)], server=[TWO], wanted=Selection(sample=0.5))
    requests = [asks(body=b'{"n":%d}' % number) for number in range(6)]
    scopes = [asks(f"/t/{number}{CHAT}") for number in range(3)]
    probe = Request("GET", "/health")
    house.ask(*(r for n, request in enumerate(requests) for r in (probe, request, *scopes[n : n + 1])))
    assert house.tally.requests == {"forward": 6 + 3, "record": 3, "replay": 3}
    assert len(house.archive.responses()) == 3


# What goes wrong


def hang_up() -> None:
    """The client has gone: the server cancels its handler."""
    raise asyncio.CancelledError


def stumble() -> None:
    """A bug of ours."""
    raise RuntimeError("a bug")


FAILURES: list[tuple[Any, type[BaseException], str]] = [
    (UpstreamUnreachable("nobody"), UpstreamError, "kept UPSTREAM_CUT"),
    (UpstreamTimeout("silent"), UpstreamTimeout, "kept TIMEOUT"),
    ((ONE, hang_up), asyncio.CancelledError, "kept one and a half … CLIENT_LEFT"),
    ((ONE, stumble), RuntimeError, "kept one and a half … PROXY_CRASHED"),
]


def kept_word(line: str) -> str:
    """The archive's note without its dots."""
    return line.replace("… ", "", 1) if line.startswith("kept …") else line


@pytest.mark.parametrize(("script", "error", "kept"), FAILURES)
@pytest.mark.parametrize("mode", [Mode.RECORD, Mode.AUTO])
def test_a_failure_goes_on_to_whom_it_concerns_and_is_on_the_tape(
    mode: Mode, script: Any, error: type[BaseException], kept: str
) -> None:
    """The exchange is kept with how it ended, and nothing stays in flight."""
    house = House(mode, server=[script])
    with pytest.raises(error):
        house.ask(A)
    assert kept_word(house.log[-1]) == kept
    assert house.tally.in_flight == 0
    assert sum(house.tally.endings.values()) == 1


@pytest.mark.parametrize(("script", "error", "kept"), FAILURES)
def test_a_forwarded_failure_leaves_nothing_behind(script: Any, error: type[BaseException], kept: str) -> None:
    """No tape, nothing in flight."""
    house = House(Mode.RECORD, server=[script], wanted=lambda _: False)
    with pytest.raises(error):
        house.ask(A)
    assert (house.archive.pieces, house.tally.in_flight) == ([], 0)


def test_a_break_after_the_head_is_played_and_kept() -> None:
    """The client hears the bytes so far and an end that is not COMPLETE; so does the tape, and it is no recording."""
    house = House(Mode.AUTO, server=[ms((3, b"ha"), ending=Ending.UPSTREAM_CUT), TWO])
    assert house.ask(A)[1:] == [
        "3 client hears 200",
        "3 client hears ha",
        "3 client hears the end: UPSTREAM_CUT",
        "kept ha … UPSTREAM_CUT",
    ]
    assert house.shelf.count(MATCHER.key(A)) == 0


def test_a_damaged_recording_is_an_error_and_not_another_answer() -> None:
    """What the shelf cannot give is told to the client, who is not to retry; it does not count as played."""

    class LosingShelf(InMemoryShelf):
        async def read(self, place: RecordingRef) -> Response:
            raise Damaged("it was here a moment ago")

    house = House(Mode.REPLAY)
    house.proxy._store = shelf = LosingShelf()
    shelf.put(MATCHER.key(A), ONE)
    house.ask(A, A)
    assert [line.split(" ", 2)[2] for line in house.log if "hears 500" in line] == ["hears 500"] * 2
    assert (house.tally.in_flight, house.tally.played) == (0, {})
    assert (house.tally.requests, house.tally.misses) == ({"damaged": 2}, {"damaged": 2})
    ((name, miss, times),) = house.misses.causes.values()
    assert (name, miss.code, times) == ("m-0001", "damaged", 2)
    assert miss.sentence.endswith("was recorded, but cannot be played: it was here a moment ago")


@pytest.mark.parametrize("on_miss", OnMiss)
@pytest.mark.parametrize("method", ["count", "count_broken", "near", "count_of_endpoint"])
def test_a_damaged_cassette_is_no_miss(method: str, on_miss: OnMiss) -> None:
    """Wherever it is noticed: nothing is forwarded, invented or recorded for it."""

    def damaged(*_: object) -> int:
        raise Damaged("a stored text stands where there are none")

    house = House(Mode.REPLAY, on_miss, server=[ONE], invent=lambda _: ONE)
    setattr(house.shelf, method, damaged)
    house.ask(A)
    if method == "count" or on_miss is OnMiss.REFUSE:
        assert (house.tally.requests, house.tally.misses) == ({"damaged": 1}, {"damaged": 1})
        assert "client hears 500" in " ".join(house.log)
    else:  # nobody looks there
        assert "damaged" not in house.tally.requests


def test_a_scope_that_was_forgotten_gets_nothing() -> None:
    """It would begin again from the first recording without a word; in `auto` it would be recorded a second time."""
    for mode in (Mode.REPLAY, Mode.AUTO):
        house = House(mode, at_end=AtEnd.REFUSE, recordings=[(A, ONE), (A, TWO)], server=[ONE])
        house.proxy.state.playhead = Playhead(AtEnd.REFUSE, limit=1000)
        scoped = [replace(A, target=f"/t/{scope}{A.target}") for scope in ("one", "two", "one", "two")]
        house.ask(*scoped)
        assert house.tally.requests == {"replay": 3, "refuse": 1}
        ((_, miss, _),) = house.misses.causes.values()
        assert (miss.code, miss.scope) == ("scope_forgotten", "one")
        house.proxy.state.playhead.reset("one")
        house.ask(scoped[0])
        assert house.tally.requests["replay"] == 4


def test_what_is_not_recorded_does_not_count_as_asked_for() -> None:
    """In `auto`, what the filters leave out is forwarded as often as it comes, and no position is kept of it."""
    house = House(Mode.AUTO, server=[ONE], wanted=lambda _: False)
    house.ask(A, A, A)
    assert house.tally.requests == {"forward": 3}
    assert house.proxy.state.playhead.request_count("", MATCHER.key(A)) == 0


def test_a_scope_that_is_too_long_is_refused() -> None:
    """It would be kept for as long as the proxy runs."""
    house = House(Mode.REPLAY, recordings=[(A, ONE)])
    house.ask(replace(A, target=f"/t/{'s' * 256}{A.target}"))
    with pytest.raises(ClientError, match="more than 256 bytes"):
        house.ask(replace(A, target=f"/t/{'s' * 257}{A.target}"))
    with pytest.raises(ClientError, match="more than 256 bytes"):
        house.ask(replace(A, headers=(*A.headers, ("X-Replayproxy-Scope", "ü" * 129))))
    assert house.tally.requests == {"replay": 1}


def test_requests_in_flight_are_counted_while_they_are() -> None:
    """One while it is answered, none before and after."""
    seen: list[int] = []
    house = House(Mode.RECORD, server=[(ONE, lambda: seen.append(house.tally.in_flight))])
    house.ask(A)
    assert (seen, house.tally.in_flight) == ([1], 0)


def test_equal_requests_in_flight_get_the_recordings_each_once() -> None:
    """N at once walk the list as N in turn would."""
    recordings = [(A, answer((0, b"%d" % number))) for number in range(8)]
    house = House(Mode.REPLAY, at_end=AtEnd.REFUSE, recordings=recordings)

    async def all_at_once() -> list[bytes]:
        clients = [HearingListener([], house.clock) for _ in range(8)]
        await asyncio.gather(*(house.proxy.answer(A, client) for client in clients))
        return [item.data for client in clients for item in client.heard if isinstance(item, Chunk)]

    assert sorted(asyncio.run(all_at_once())) == [b"%d" % number for number in range(8)]


def test_a_decode_that_presents_a_recorded_ticket_gets_what_was_decoded_from_it() -> None:
    """A replayed prefill has handed out recorded tickets, whatever the turn; one that nobody knows takes its turn."""

    def presenting(ticket: str) -> Request:
        return asks(body=b'{"prompt":"a","kv_transfer_params":{"transfer_id":"%b"}}' % ticket.encode())

    house = House(Mode.REPLAY, recordings=[(A, answer((0, b"%d" % number))) for number in range(3)])
    house.shelf.transfers = {(MATCHER.key(A), "t2"): 2, (MATCHER.key(A), "t1"): 1}
    said = house.ask(presenting("t2"), presenting("t1"), presenting("new"), A)
    assert [line for line in said if "at once" in line] == [
        *("0 client hears at once 2", "0 client hears at once 1"),
        *("0 client hears at once 2", "0 client hears at once 0"),
    ]


def test_times_count_from_when_the_request_came() -> None:
    """The server says when it was complete; what was done with it since is no excuse to be late."""
    house = House(Mode.REPLAY, recordings=[(A, ms((10, b"a")))])
    house.proxy.player = Player(house.clock, Pace(1.0), house.tally)
    house.clock.move(8 * MILLISECOND)

    async def ask() -> None:
        client = HearingListener(house.log, house.clock)
        await house.proxy.answer(A, client, received_at=3 * MILLISECOND)
        await house.proxy.answer(A, client)

    asyncio.run(ask())
    assert [line for line in house.log if line.endswith(" a")] == ["13 client hears a", "23 client hears a"]


def test_auto_looks_only_after_what_was_kept_can_be_found() -> None:
    """The archive is asked whether all of this key is settled before the shelf is looked at."""
    house = House(Mode.AUTO, server=[TWO])
    house.ask(A, B)
    assert house.archive.settling == [MATCHER.key(A), MATCHER.key(B)]


def test_what_is_recorded_has_its_scope_and_its_key() -> None:
    """In `auto` both are known; the request is the one the server saw."""
    house = House(Mode.AUTO, server=[TWO])
    house.ask(asks(f"/t/x%20y{CHAT}?v=1"))
    (piece,) = house.archive.pieces
    seen = asks(f"{CHAT}?v=1")
    assert (piece.request, piece.scope, piece.key) == (seen, "x y", MATCHER.key(seen))
    assert house.upstream.asked == [seen]


def test_an_upload_goes_through_and_is_on_the_tape() -> None:
    """The server gets the pieces as they come; the tape holds them as one body."""
    house = House(Mode.RECORD, server=[ms((1, b"{}"), headers=JSON)])

    async def upload() -> None:
        async def pieces() -> Any:
            for piece in (b"ab", b"", b"cd"):
                yield piece

        await house.proxy.answer(asks(body=b""), HearingListener(house.log, house.clock), pieces())

    asyncio.run(upload())
    assert house.upstream.uploaded == [b"abcd"]
    assert [piece.request.body for piece in house.archive.pieces] == [b"abcd"]
