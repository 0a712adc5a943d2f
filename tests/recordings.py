"""Exchanges of every kind, and how they get onto a cassette and back. Knows the disk, no wire and no clock."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import orjson

from replayproxy.cassette.coding.times import as_read
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import Redactor
from replayproxy.model import (
    Chunks,
    End,
    Ending,
    Exchange,
    Head,
    Headers,
    Key,
    Leg,
    RecordingRef,
    Request,
    Response,
    Timeline,
)
from replayproxy.ports import ExchangePart, RecordingStore

MATCHER = Matcher(MatchRules(), Redactor(b"sixteen bytes of"))
EPOCH = 1_760_000_000_000_000_000
CHAT = "/v1/chat/completions"
SSE: Headers = (("content-type", "text/event-stream; charset=utf-8"), ("x-request-id", "é\x80\xff"))
JSON: Headers = (("Content-Type", "application/json"), ("Server", "one"), ("server", "two"))


def asked(content: str, path: str = CHAT, **more: object) -> Request:
    """A chat request."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}]} | more
    return Request("POST", path, (("Content-Type", "application/json"),), orjson.dumps(body))


def said(
    chunks: Sequence[bytes],
    *,
    status: int = 200,
    headers: Headers = SSE,
    ending: Ending = Ending.COMPLETE,
    beat: int = 1,
) -> Response:
    """An answer in these chunks, some milliseconds apart."""
    at = [10_000_000 + 1_234_567 * beat * number for number, _ in enumerate(chunks)]
    end = at[-1] + 54_321 if at else 9_999_999
    return Response(
        status=status,
        headers=headers,
        body=b"".join(chunks),
        cuts=tuple(map(len, chunks)),
        timeline=Timeline(9_876_543 if status else end, tuple(at), end),
        ending=ending,
    )


def streamed(words: Iterable[str], number: int = 0, *, done: bool = True) -> list[bytes]:
    """A chat as vLLM streams it: the role, a word a chunk, usage, [DONE]."""
    frame = {"id": f"chatcmpl-{number:016x}", "object": "chat.completion.chunk", "created": 1760000000, "model": "tiny"}

    def event(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return b"data: %b\n\n" % orjson.dumps(frame | {"choices": [choice]})

    spoken = list(words)
    events = [event({"role": "assistant", "content": ""}), *(event({"content": word}) for word in spoken)]
    if not done:
        return events
    usage = {"prompt_tokens": 7, "total_tokens": 7 + len(spoken), "completion_tokens": len(spoken)}
    last = b"data: %b\n\n" % orjson.dumps(frame | {"choices": [], "usage": usage})
    return [*events, event({}, "stop"), last, b"data: [DONE]\n\n"]


def story(length: int, seed: int) -> list[str]:
    """Some words, the frequent ones more often."""
    chance = random.Random(seed)
    return [f" w{int(chance.expovariate(0.05))}" for _ in range(length)]


def exchange(request: Request, response: Response, number: int = 0) -> Exchange:
    """One of a series, a second apart."""
    return Exchange(request, response, EPOCH + number * 1_000_000_007)


def chats(count: int, first: int = 0) -> list[Exchange]:
    """So many different ones."""
    numbers = range(first, first + count)
    return [exchange(asked(f"chat {n}"), said(streamed(story(10, n), n)), n) for n in numbers]


def whole_answer(text: str) -> bytes:
    """A chat that was not streamed."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"}
    return orjson.dumps({"object": "chat.completion", "model": "tiny", "choices": [choice], "usage": usage})


def samples() -> list[Exchange]:
    """One of each kind that there is, and equal requests among them."""
    sea, upload = asked("sea", stream=True), Request("POST", "/v1/audio", (), bytes(range(256)) * 4)
    leg = Leg(
        "prefill",
        "http://127.0.0.1:8100",
        asked("pair", max_tokens=1),
        said([whole_answer("a")], headers=JSON),
        started=1_000_000,
    )
    decode = replace(leg, role="decode", response=said(streamed(story(9, 5), 5)), started=25_000_000)
    pairs: list[tuple[Request, Response]] = [
        (sea, said(streamed(story(20, 1), 1))),
        (sea, said(streamed(story(20, 2), 2), beat=3)),
        (asked("sun"), said([whole_answer("sun")], headers=JSON)),
        (sea, said(streamed(story(5, 3), 3, done=False), ending=Ending.UPSTREAM_CUT)),
        (sea, said(streamed(story(6, 4), 4))),
        (asked("gone"), said([], status=0, headers=(), ending=Ending.CLIENT_LEFT)),
        (asked("slow"), said([], status=0, headers=(), ending=Ending.TIMEOUT)),
        (asked("stopped"), said(streamed(["a"], done=False), ending=Ending.PROXY_STOPPED)),
        (asked("crashed"), said(streamed(["a", "b"], done=False), ending=Ending.PROXY_CRASHED)),
        (asked("head only"), said([], ending=Ending.UPSTREAM_CUT)),
        (asked("bad", n="x"), said([b'{"error":{"message":"no","code":400}}'], status=400, headers=JSON)),
        (Request("GET", "/v1/models?b=2&a=%ff&a"), said([b'{"data":[]}'], headers=JSON)),
        (Request("DELETE", "/v1/nothing"), said([], status=204, headers=())),
        (Request("HEAD", "/v1/files/x?"), said([], headers=(("content-length", "7"),))),
        (upload, said([b"\0", b"\0\0", b"", b"\n\0\n"], headers=(("content-type", "audio/wav"),))),
        (Request("POST", "/v1/\xe9", (), b"\xff not text"), said([b"\xff\xfe", "ünïcödé".encode()], headers=())),
        (asked("zipped"), said([b"\x1f\x8b", bytes(range(255, -1, -1))], headers=(("content-encoding", "gzip"),))),
        (asked("words", "/v1/completions"), said([b"data: 1\n\ndata: 2\n", b"\ndata: [DO", b"NE]\n\n"])),
        (asked("all at once", stream=True), said([b"".join(streamed(story(30, 6), 6))])),
        (asked("messages", "/v1/messages"), said([b'event: message_stop\ndata: {"type":"message_stop"}\n\n'])),
    ]
    exchanges = [exchange(*pair, number) for number, pair in enumerate(pairs)]
    exchanges[1] = replace(exchanges[1], scope="a scope", stalled=2)
    exchanges[4] = replace(exchanges[4], legs=(leg, decode))
    return exchanges


# Onto a cassette and back


def pieces(exchange: Exchange, tape: int, cuts: Sequence[int] = (), *, key: bool = True) -> list[ExchangePart]:
    """An exchange as a tape lets go of it: after so many chunks each, and at its end."""
    response = exchange.response
    chunks = list(response.chunks())
    bounds = [0, *sorted(cut % (len(chunks) + 1) for cut in cuts), len(chunks)]
    head = Head(response.timeline.head, response.status, response.headers) if response.status else None
    parts = [chunks[start:stop] for start, stop in pairwise(bounds)]
    last = len(parts) - 1
    return [
        ExchangePart(
            number=tape,
            request=exchange.request,
            recorded_at=exchange.recorded_at,
            head=head,
            chunks=Chunks.of(part),
            end=End(response.timeline.end, response.ending) if number == last else None,
            key=MATCHER.key(exchange.request) if key else None,
            scope=exchange.scope,
            stalled=exchange.stalled if number == last else 0,
            legs=exchange.legs if number == last else (),
        )
        for number, part in enumerate(parts)
        if part or number == last
    ]


def keep(keeper: CassetteWriter, kept: Iterable[ExchangePart]) -> None:
    """Write pieces, in one batch."""
    keeper.begin()
    for piece in kept:
        keeper.keep(piece)
    keeper.commit()


def record(path: Path, exchanges: Sequence[Exchange], *, rules: MatchRules | None = None) -> Path:
    """A sealed cassette with these, every second one in two pieces."""
    keeper = CassetteWriter(path, MATCHER if rules is None else Matcher(rules, MATCHER.redactor))
    for tape, item in enumerate(exchanges, 1):
        for piece in pieces(item, tape, [1] if tape % 2 else (), key=rules is None):
            keep(keeper, [piece])
    keeper.seal()
    return path


def unwritable(exchange: Exchange) -> list[ExchangePart]:
    """The exchange in one piece, with something in it that no cassette can hold."""
    (whole,) = pieces(exchange, 1)
    return [
        replace(whole, request=replace(exchange.request, headers=(("accept", "\ud800"),))),
        replace(whole, recorded_at=2**63),
        replace(whole, chunks=Chunks(b"x", (1,), (2**80,))),
        replace(whole, scope="\ud800"),
    ]


def as_stored(exchange: Exchange) -> Exchange:
    """What a cassette gives back of it: the same, with times in its grain."""
    legs = tuple(
        replace(leg, response=as_read(leg.response), started=leg.started // 1000 * 1000) for leg in exchange.legs
    )
    return replace(exchange, response=as_read(exchange.response), legs=legs)


def stored(cassette: CassetteReader) -> Iterator[tuple[int, Exchange]]:
    """All ended exchanges with their numbers, in the order they were written."""
    for row in cassette.rows("state = 'done'", order="number"):
        yield row["number"], cassette.exchange(row["number"])


def read(path: Path) -> list[Exchange]:
    """All ended exchanges on a cassette."""
    with CassetteReader(path) as cassette:
        return [item for _, item in stored(cassette)]


def bodies(shelf: RecordingStore, request: Request | Key) -> list[bytes]:
    """All recordings of a request, in their order."""
    key = request if isinstance(request, str) else MATCHER.key(request)

    async def read_all() -> list[bytes]:
        return [(await shelf.read(RecordingRef(key, number))).body for number in range(shelf.count(key))]

    return asyncio.run(read_all())


def record_answers(path: Path, *answers: tuple[Request, bytes] | tuple[Request, bytes, Ending]) -> Path:
    """A cassette with these."""
    return record(
        path,
        [
            exchange(request, said([body], ending=ending[0] if ending else Ending.COMPLETE), number)
            for number, (request, body, *ending) in enumerate(answers)
        ],
    )


def execute(sql: str, *values: object) -> Callable[[Path], None]:
    """Somebody with SQLite at hand."""

    def change(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in sql.split(";"):
            connection.execute(statement, values if "?" in statement else ())
        connection.close()

    return change
