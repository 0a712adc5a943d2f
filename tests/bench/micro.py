"""What the single steps cost, in this process: keying, masking, packing and unpacking a chat, reading a cassette."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from replayproxy.cassette.coding import digests
from replayproxy.cassette.coding.codec import Codec
from replayproxy.cassette.coding.times import pack_times, ticks_of, unpack_times
from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.identity import canonical
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import Redactor
from replayproxy.model import Chunks, Head, RecordingRef, Request, Response
from tests.bench.conversation import PATH
from tests.bench.replay import CHATS, CHUNKS, recorded
from tests.bench.report import Verdict, table

ROUNDS = 5


def measure(folder: Path) -> list[Verdict]:
    """Print the table."""
    path = recorded(folder, CHATS)
    matcher = Matcher(MatchRules())
    redactor = Redactor(b"0123456789abcdef")
    masking = Matcher(MatchRules(), redactor)
    requests = [Request("POST", PATH, (("Content-Type", "application/json"),), chat.body) for chat in CHATS]
    with CassetteReader(path) as cassette:
        numbers = [int(row[0]) for row in cassette.all("SELECT id FROM exchange ORDER BY id")]
        exchanges = [cassette.exchange(number) for number in numbers]
        packer = Codec()
        for number, kind, content in cassette.all("SELECT id, kind, content FROM dictionary ORDER BY id"):
            packer.learn(number, kind, content)
    responses = [exchange.response for exchange in exchanges]
    chunks = [response.chunks().data() for response in responses]
    ticks = [ticks_of(response.timeline) for response in responses]
    answers = [packer.pack_answer(one.headers, cut) for one, cut in zip(responses, chunks, strict=True)]
    times = [pack_times(one) for one in ticks]
    asked = [packer.pack_request(exchange.request) for exchange in exchanges]
    places = [RecordingRef(matcher.key(request), 0) for request in requests]

    steps: dict[str, Callable[[], object]] = {
        "key of a request": lambda: [canonical.digest(matcher.form(request)) for request in requests],
        "key of a request, again": lambda: [matcher.key(request) for request in requests],
        "key of a request, masked": lambda: [canonical.digest(masking.form(request)) for request in requests],
        "mask: answer": lambda: [_veiled(redactor, response) for response in responses],
        "pack: request": lambda: [packer.pack_request(exchange.request) for exchange in exchanges],
        "pack: answer": lambda: [packer.pack_answer(a.headers, b) for a, b in zip(responses, chunks, strict=True)],
        "pack: times": lambda: [pack_times(one) for one in ticks],
        "digest": lambda: [digests.digest("rp1:00", one.request, one.response) for one in exchanges],
        "unpack: request": lambda: [packer.unpack_request(one, "POST", PATH) for one in asked],
        "unpack: answer": lambda: [packer.unpack_answer(one, 1 << 20) for one in answers],
        "unpack: times": lambda: [unpack_times(one) for one in times],
        "open a cassette and read one answer": lambda: _open_and_read(path, places),
        "read from an open cassette, cold": lambda: _read(path, *places),
    }
    with CassetteReader(path) as warm:
        steps["read from an open cassette, again"] = lambda: asyncio.run(_all(warm, places))
        steps["count the answers to a request"] = lambda: [warm.count(place.key) for place in places]
        rows = [(name, *_spent(step, len(CHATS))) for name, step in steps.items()]
    title = f"Steps: CPU microseconds for a chat of {CHUNKS} chunks, median of {ROUNDS} rounds over {len(CHATS)} chats"
    print(table(title, ("step", "us", "fastest"), rows))
    return []


def _veiled(redactor: Redactor, response: Response) -> object:
    """As a tape does it: the credentials are known, and what may be kept is asked for now and then."""
    asked = Request("POST", PATH, (("Authorization", "Bearer not-a-key-but-as-long-as-one"),))
    stream_redactor = redactor.stream_redactor(redactor.credentials(asked))
    head = stream_redactor.head(Head(0, response.status, response.headers))
    for number, chunk in enumerate(response.chunks(), 1):
        stream_redactor.feed(Chunks.of([chunk]))
        if number % 50 == 0:
            stream_redactor.decide()
    return stream_redactor.finish(head)


def _open_and_read(path: Path, places: list[RecordingRef]) -> None:
    for place in places:
        _read(path, place)


def _read(path: Path, *places: RecordingRef) -> None:
    with CassetteReader(path) as cassette:
        asyncio.run(_all(cassette, places))


async def _all(cassette: CassetteReader, places: tuple[RecordingRef, ...] | list[RecordingRef]) -> None:
    for place in places:
        await cassette.read(place)


def _spent(step: Callable[[], object], times: int) -> tuple[str, str]:
    """CPU microseconds of one of so many, median and fastest."""
    spent = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        step()
        spent.append((time.process_time_ns() - started) / times / 1000)
    return f"{median(spent):.1f}", f"{min(spent):.1f}"
