"""Makes a cassette of very many exchanges, to measure what reads one: `python -m tests.bench.large_cassette FILE N`.

    some hundred chats ──▶ CassetteWriter, dictionaries ──▶ N rows in bulk, with own times and digests ──▶ sealed

Every exchange can be shown, verified and replayed: requests differ, equal ones are numbered, digests hold. What is not
new for each is the text of its answer, one of some hundred. 10^6 exchanges take some minutes on one core.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate, count
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from replayproxy.cassette import database
from replayproxy.cassette.coding import digests
from replayproxy.cassette.coding.codec import Codec
from replayproxy.cassette.coding.times import timeline_of
from replayproxy.cassette.columns import derived_columns, model_of
from replayproxy.cassette.dictionaries import Dictionaries
from replayproxy.cassette.stored_keys import key_bytes
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.dialects.facts import facts_of
from replayproxy.core.preparing import sketch_of
from replayproxy.model import Ending, Exchange, Request
from replayproxy.ports import ExchangePart
from tests.recordings import EPOCH, JSON, MATCHER, exchange, said, story, streamed

TEMPLATES = 400
"""Different answers."""

EQUAL = 4
"""Equal requests, on average, which come within some hundred exchanges."""

RECENT = 100

BATCH = 5_000
"""Exchanges of one transaction."""

TICKS_PER_S = 100_000

MODELS = ("tiny", "small", "large")
PATHS = ("/v1/chat/completions", "/v1/completions")


class Stored(NamedTuple):
    """A request, its key, and how it is stored."""

    request: Request
    key: str
    packed: bytes
    sketch: bytes


@dataclass(frozen=True, slots=True)
class Template:
    """An answer that many exchanges share: as it is read, as it is stored, and what a row repeats of it."""

    exchange: Exchange
    packed: bytes
    columns: dict[str, Any]
    endpoint: int
    model: str
    first_content: int | None
    """The index of the chunk with the first content."""


def make(path: Path, exchanges: int, *, seed: int = 1) -> None:
    """Write a new cassette. Raises `CassetteError` where there is one."""
    chance = random.Random(seed)
    with closing(CassetteWriter(path, MATCHER)) as writer:
        some = [_template_exchange(number, chance) for number in range(TEMPLATES)]
        writer.begin()
        for number, each in enumerate(some, 1):
            writer.keep(ExchangePart.of(number, each))
        writer.commit()
        writer.train_when_due()
    with database.translated(str(path)), closing(database.write(path, full=False)) as connection:
        dictionaries = Dictionaries(connection, path)
        rows = _Rows(connection, dictionaries.codec, chance)
        templates = [rows.template(each) for each in some]
        for first in range(TEMPLATES, exchanges, BATCH):
            connection.execute("BEGIN IMMEDIATE")
            for number in range(first, min(exchanges, first + BATCH)):
                rows.add(number + 1, templates[chance.randrange(TEMPLATES)])
            rows.write()
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    CassetteWriter(path, MATCHER).seal()


def _request(number: int, path: str, model: str) -> Request:
    words = " ".join(story(12, number))
    body: dict[str, Any] = {"model": model, "stream": True, "temperature": 0}
    prompt = f"Question {number}:{words}"
    body |= {"messages": [{"role": "user", "content": prompt}]} if "chat" in path else {"prompt": prompt}
    return Request("POST", path, (("Content-Type", "application/json"),), orjson.dumps(body))


def _template_exchange(number: int, chance: random.Random) -> Exchange:
    """A streamed chat; one in a hundred is an error, one in a hundred is cut by the client."""
    request = _request(10**9 + number, PATHS[number % 10 == 0], MODELS[number % len(MODELS)])
    if number % 100 == 50:
        response = said([b'{"error":{"message":"busy","code":503}}'], status=503, headers=JSON)
    elif number % 100 == 51:
        response = said(streamed(story(9, number), number, done=False), ending=Ending.CLIENT_LEFT)
    else:
        response = said(streamed(story(chance.randrange(8, 40), number), number))
    return exchange(request, response, -TEMPLATES + number)


class _Rows:
    """Rows that are written in bulk, in the order of time."""

    def __init__(self, connection: sqlite3.Connection, packer: Codec, chance: random.Random) -> None:
        self._connection = connection
        self._packer = packer
        self._chance = chance
        self._at = EPOCH
        self._requests = count()
        self._occurrences = Counter[bytes]()
        self._recent: defaultdict[tuple[str, str], deque[Stored]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._exchanges: list[dict[str, Any]] = []
        self._payloads: list[tuple[int, bytes, bytes]] = []
        self._answers: list[tuple[int, bytes]] = []

    def template(self, each: Exchange) -> Template:
        """What exchanges with this answer share."""
        facts = facts_of(each.request, each.response)
        columns = derived_columns(each.request, each.response, facts)
        find = "SELECT id FROM endpoint WHERE method = ? AND path = ? AND model IS ?"
        (endpoint,) = self._connection.execute(
            find, (each.request.method, each.request.path, model_of(facts))
        ).fetchone()
        chunks = each.response.chunks()
        packed = self._packer.pack_answer(each.response.headers, chunks.data(), chunks.continued)
        times = each.response.timeline.chunks
        first = None if facts.first_content is None else times.index(facts.first_content)
        return Template(each, packed, columns, endpoint, facts.model or "", first)

    def add(self, number: int, template: Template) -> None:
        """One more exchange, with a request, times and a digest of its own."""
        self._at += round(self._chance.expovariate(20) * 1e9)
        request, key, packed_request, sketch = self._request_for(template)
        ticks = list(accumulate(self._gaps(len(template.exchange.response.cuts))))
        response = replace(template.exchange.response, timeline=timeline_of(ticks))
        stored_key = key_bytes(key)
        is_playable = template.exchange.response.ending in (Ending.COMPLETE, Ending.CLIENT_LEFT)
        occurrence = self._occurrences[stored_key] if is_playable else None
        self._occurrences[stored_key] += is_playable
        first = template.first_content
        self._exchanges.append(
            {
                **template.columns,
                "id": number,
                "key": stored_key,
                "occurrence": occurrence,
                "sketch": sketch if occurrence == 0 else None,
                "recorded_at": self._at,
                "endpoint": template.endpoint,
                "state": 1,
                "request_size": len(request.body),
                "ttft_us": None if first is None else ticks[first + 1] * 10,
                "total_us": ticks[-1] * 10,
                "digest": digests.digest(key, request, response, ticks),
            }
        )
        self._payloads.append((number, packed_request, self._packer.pack_times(ticks)))
        self._answers.append((number, template.packed))

    def write(self) -> None:
        """All that has been added."""
        names = list(self._exchanges[0])
        insert = f"INSERT INTO exchange ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
        self._connection.executemany(insert, self._exchanges)
        self._connection.executemany("INSERT INTO payload VALUES (?, ?, ?)", self._payloads)
        self._connection.executemany("INSERT INTO answer VALUES (?, ?)", self._answers)
        for written in (self._exchanges, self._payloads, self._answers):
            written.clear()

    def _request_for(self, template: Template) -> Stored:
        """A request for the endpoint and the model of this answer: a new one, or one that was sent a moment ago."""
        recent = self._recent[template.exchange.request.path, template.model]
        if recent and self._chance.randrange(EQUAL):
            return self._chance.choice(recent)
        request = _request(next(self._requests), template.exchange.request.path, template.model)
        packed = self._packer.pack_request(request)
        recent.append(Stored(request, MATCHER.key(request), packed, sketch_of(MATCHER, request)))
        return recent[-1]

    def _gaps(self, chunks: int) -> Iterator[int]:
        """Head, chunks and end in ticks: TTFT around 200 ms, gaps around 20 ms, few of them long."""
        head = round(self._chance.lognormvariate(-1.6, 0.6) * TICKS_PER_S)
        yield head
        yield 10
        for _ in range(chunks - 1):
            yield round(self._chance.lognormvariate(-4, 0.5) * TICKS_PER_S)
        yield 5


def main(words: list[str]) -> int:
    """Make one; gives the exit code."""
    if len(words) != 2 or not words[1].isdigit():
        print("usage: python -m tests.bench.large_cassette FILE EXCHANGES", file=sys.stderr)
        return 2
    path, started = Path(words[0]), time.monotonic()
    make(path, int(words[1]))
    print(f"{path}: {int(words[1]):,} exchanges, {path.stat().st_size:,} bytes, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
