"""A request that takes long to compare is looked at in a thread, once: other streams have their times."""

from __future__ import annotations

import asyncio
import gzip
import pickle  # noqa: TID251  as between two processes of ours
import threading
from collections.abc import AsyncIterator, Callable
from typing import TypeVar, cast

import pytest

from replayproxy.core.identity.rules import SHORT, SHORT_HEAD, Compared, Matcher, MatchRules
from replayproxy.core.policy import Mode
from replayproxy.core.preparing import HEAVY
from replayproxy.core.redaction import Redactor
from replayproxy.core.redaction.credentials import Credentials
from replayproxy.model import End, Ending, Head, Request
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.recorder import Recorder
from tests.doubles.fakes import JSON, InMemoryArchive, ManualClock
from tests.proxy.test_handler import CHAT, MATCHER, ONE, House

T = TypeVar("T")

SALT = b"0123456789abcdef"

MULTIPART = (("Content-Type", "multipart/form-data; boundary=b"),)
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
CODED = (*JSON, ("Content-Encoding", "gzip"))


def of_size(size: int) -> bytes:
    """A chat of about so many bytes."""
    return b'{"prompt":"' + b"a" * (size - 13) + b'"}'


class Watching(Matcher):
    """Says in which threads it compared."""

    def __init__(self) -> None:
        super().__init__(MatchRules())
        self.threads: list[bool] = []

    def compared(self, request: Request) -> Compared:
        """As it was; notes whether the event loop's thread did it."""
        self.threads.append(threading.current_thread() is threading.main_thread())
        return super().compared(request)


@pytest.mark.parametrize(
    ("request_", "in_loop"),
    [
        (Request("POST", CHAT, JSON, of_size(SHORT - 200)), True),
        (Request("POST", CHAT, JSON, b'{"prompt":[' + b",".join([b"1.5e300"] * 4000) + b"]}"), False),
        (Request("POST", CHAT, JSON, b'{"prompt":[' + b",".join([b"1.5e300"] * 1000) + b"]}"), True),
        (Request("POST", CHAT, JSON, b'{"prompt":' + b"[" * 50 + b"1" + b"],[" * 3000 + b"]" * 50 + b"}"), False),
        (Request("POST", CHAT, MULTIPART, b"--b\r\n\r\n\r\n" * 3000 + b"--b--\r\n"), False),
        (Request("POST", CHAT, FORM, b"a=1&" * 5000), False),
        (Request("POST", CHAT, JSON, of_size(SHORT + 1)), False),
        (Request("POST", CHAT, CODED, gzip.compress(of_size(200_000))), False),
        (Request("POST", CHAT, (("Content-Encoding", "identity"),), of_size(1000)), True),
        (Request("POST", f"{CHAT}?{'&'.join(f'k{number}=1' for number in range(8000))}", JSON, b"{}"), False),
        (Request("POST", CHAT, (*JSON, ("Cookie", "; ".join(f"a{number}=b" for number in range(8000)))), b"{}"), False),
        (Request("POST", CHAT, (*JSON, ("X-A", "a" * (SHORT_HEAD + 1))), b"{}"), False),
        (Request("POST", CHAT, MULTIPART, b"--b\r\n\r\na\r\n" * 20_000 + b"--b--\r\n"), False),
    ],
    ids=[
        "short",
        "numbers",
        "few numbers",
        "nested",
        "empty parts",
        "form",
        "long",
        "long in a coding",
        "short, no coding",
        "query",
        "cookies",
        "a field",
        "parts",
    ],
)
def test_the_key_of_a_long_request_is_made_in_a_thread(request_: Request, in_loop: bool) -> None:
    """From 64 KiB on; a body in a coding may be as long as it likes."""
    matcher = Watching()
    house = House(Mode.REPLAY, recordings=[(request_, ONE)], matcher=matcher)
    house.ask(request_)
    assert set(matcher.threads) == {in_loop}
    assert dict(house.tally.requests) == {"replay": 1}


def test_a_long_request_without_a_recording_is_a_miss() -> None:
    """Looked at in a thread too, and shown without its secrets."""
    house = House(Mode.REPLAY, recordings=[(Request("POST", CHAT, JSON, of_size(100)), ONE)])
    house.ask(Request("POST", CHAT, JSON, b"{" + b",".join(b'"k%d":1' % number for number in range(10_000)) + b"}"))
    assert sum(house.tally.misses.values()) == 1


def copied(value: T) -> T:
    """Through a pickle."""
    return cast("T", pickle.loads(pickle.dumps(value)))  # noqa: S301  our own


class Elsewhere:
    """A worker that notes what it is given."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """As another process would: of what is passed in nothing changes."""
        self.jobs.append(work.__name__)
        return copied(work(*copied(arguments)))


HEAVY_BODIES = {
    "escapes": b'{"prompt":"' + b"\\u0061" * 60_000 + b'"}',
    "keys": b"{" + b",".join(b'"k%d":1' % number for number in range(40_000)) + b"}",
    "numbers": b'{"prompt":[' + b",".join([b"1.5e300"] * 60_000) + b"]}",
    "nesting": b"[" * 300_000,
    "multipart": b"--b\r\n\r\na\r\n" * 40_000 + b"--b--\r\n",
    "many values in 100 kB": b"[" + b"[]," * 33_000 + b"1]",
}


@pytest.mark.parametrize("name", HEAVY_BODIES)
def test_a_heavy_request_is_compared_in_the_worker(name: str) -> None:
    """Its key, its masks, its sketch, and the recording that it resembles: nothing of it in the event loop."""
    elsewhere, matcher = Elsewhere(), Watching()
    recordings = [(Request("POST", CHAT, JSON, of_size(100)), ONE)]
    house = House(Mode.REPLAY, recordings=recordings, matcher=matcher, worker=elsewhere)
    house.ask(Request("POST", CHAT, JSON, HEAVY_BODIES[name]))
    assert sum(house.tally.misses.values()) == 1
    assert (elsewhere.jobs, matcher.threads) == (["prepare", "closest"], [])


@pytest.mark.parametrize(
    ("size", "jobs", "in_loop"),
    [(SHORT - 300, [], True), (SHORT + 1, [], False), (HEAVY + 1, ["prepare"], False)],
    ids=["short", "long", "heavy"],
)
def test_a_recorded_upload_is_masked_aside(size: int, jobs: list[str], in_loop: bool) -> None:
    """Not in the event loop from 64 KiB on, and in the worker from 256 KiB on; what is kept is the same."""
    threads: list[bool] = []

    class WatchingRedactor(Redactor):
        def _without_secrets(self, request: Request, known: Credentials | None) -> Request:
            threads.append(threading.current_thread() is threading.main_thread())
            return super()._without_secrets(request, known)

    redactor, archive, elsewhere = WatchingRedactor(SALT), InMemoryArchive(), Elsewhere()
    recorder = Recorder(archive, ManualClock(), Counters(), redactor, worker=elsewhere)
    body = of_size(size)[:-2] + b" sk-proj-" + b"aB3" * 12 + b'"}'

    async def upload() -> AsyncIterator[bytes]:
        yield body[:1000]
        yield body[1000:]

    async def record() -> None:
        with recorder.record(Request("POST", CHAT, JSON)) as tape:
            async for _ in tape.recording_upload(upload()):
                pass
            await tape.head(Head(0, 200, JSON))
            await tape.end(End(1, Ending.COMPLETE))
        await recorder.finish()

    asyncio.run(record())
    [piece] = archive.pieces
    assert piece.request.body == Redactor(SALT).request(Request("POST", CHAT, JSON, body)).body
    assert b"sk-proj" not in piece.request.body
    assert elsewhere.jobs == jobs
    assert (True in threads) == in_loop
    assert recorder.pending_bytes == 0


def test_who_asks_the_same_waits_for_what_is_masked_still() -> None:
    """An equal request finds it among what is recorded; one with another key does not wait."""
    archive = InMemoryArchive()
    recorder = Recorder(archive, ManualClock(), Counters(), Redactor(SALT))

    async def record() -> list[int]:
        with recorder.record(Request("POST", CHAT, JSON, HEAVY_BODIES["escapes"]), key="rp1:a") as tape:
            await tape.head(Head(0, 200, JSON))
            await tape.end(End(1, Ending.COMPLETE))
        there = [len(archive.pieces)]
        for key in ("rp1:b", "rp1:a"):
            await recorder.settled(key)
            there.append(len(archive.pieces))
        return there

    assert asyncio.run(record()) == [0, 0, 1]


def test_a_long_request_is_masked_once() -> None:
    """For its key and for the cassette: the same value, kept with the request, and not for another redactor."""
    redactor, other = Redactor(b"0123456789abcdef"), Redactor(b"fedcba9876543210")
    request = Request("POST", CHAT, JSON, of_size(50_000)[:-2] + b" sk-proj-" + b"aB3" * 12 + b'"}')
    masked = redactor.request(request)
    assert b"sk-proj" not in masked.body
    assert redactor.request(request) is masked
    assert other.request(request).body != masked.body
    assert MATCHER.key(request) == Matcher(MatchRules()).key(request)
