"""Heavy work is done by another process, with the same result; when that cannot be, it is done all the same."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.preparing import finish_answer, prepare
from replayproxy.core.redaction import Redactor, StreamRedactor
from replayproxy.model import Chunks, Head, Request
from replayproxy.worker_process import KEPT_AFTER, WorkerProcess
from tests.doubles.fakes import JSON, SSE

T = TypeVar("T")

SALT = b"0123456789abcdef"
KEY = b"sk-proj-" + b"aB3" * 12


def working(work: Callable[[WorkerProcess], Awaitable[T]]) -> T:
    """With a worker, which is closed afterwards."""

    async def dialogue() -> T:
        worker = WorkerProcess()
        try:
            return await work(worker)
        finally:
            worker.close()

    return asyncio.run(dialogue())


def test_it_is_another_process_and_stays() -> None:
    """One for all jobs."""

    async def work(worker: WorkerProcess) -> None:
        first = await worker.run(os.getpid)
        assert first != os.getpid()
        assert await asyncio.gather(*(worker.run(os.getpid) for _ in range(5))) == [first] * 5

    working(work)


def test_what_a_job_raises_is_raised() -> None:
    """And the process goes on."""

    async def work(worker: WorkerProcess) -> None:
        first = await worker.run(os.getpid)
        with pytest.raises(ValueError, match="invalid literal"):
            await worker.run(int, "x")
        assert await worker.run(os.getpid) == first

    working(work)


def test_a_killed_process_costs_no_job() -> None:
    """It is done here, and the next one in a new process."""

    async def work(worker: WorkerProcess) -> None:
        first = await worker.run(os.getpid)
        os.kill(first, signal.SIGKILL)
        assert await worker.run(len, b"abc") == 3
        assert await worker.run(os.getpid) not in (first, os.getpid())

    working(work)


def test_the_memory_of_a_large_job_is_given_back() -> None:
    """The process ends behind it."""

    async def work(worker: WorkerProcess) -> None:
        first = await worker.run(os.getpid)
        assert await worker.run(len, b"x" * (KEPT_AFTER + 1)) == KEPT_AFTER + 1
        assert repr(worker) == "<WorkerProcess: idle>"
        assert await worker.run(os.getpid) != first

    working(work)


def test_a_closed_one_has_no_process() -> None:
    """Also where a job is under way; who waits is cancelled."""

    async def work(worker: WorkerProcess) -> int:
        process = await worker.run(os.getpid)
        worker.close()
        with pytest.raises(asyncio.CancelledError):
            await worker.run(os.getpid)
        return process

    with pytest.raises(ProcessLookupError):
        os.kill(working(work), 0)


BODIES = {
    "escapes": b'{"model":"m","prompt":"' + b"\\u0061" * 50_000 + b'"}',
    "an escaped key": b'{"model":"m","prompt":"' + b"".join(b"\\u%04x" % byte for byte in KEY) + b'"}',
    "many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(30_000)) + b"}",
    "large numbers": b'{"prompt":[' + b",".join([b"1.5e300"] * 30_000) + b"]}",
    "deep": b"[" * 300_000,
    "a number of 300 000 digits": b"[" + b"1" * 300_000 + b"]",
    "a multipart body": b"--b\r\n\r\na\r\n" * 30_000 + b"--b--\r\n",
    "no JSON": b"\xff" * 300_000,
    "a key": b'{"model":"m","stream":true,"prompt":"' + b"a " * 150_000 + KEY + b'"}',
}


@pytest.mark.parametrize("name", BODIES)
def test_a_request_is_the_same_request_there(name: str) -> None:
    """Key, sketch, columns and masks."""
    fields = (("Content-Type", "multipart/form-data; boundary=b"),) if name == "a multipart body" else JSON
    request = Request(
        "POST", "/v1/chat/completions", (*fields, ("Authorization", "Bearer abcdefgh12345")), BODIES[name]
    )
    matcher = Matcher(MatchRules(ignore=("$..id",)), Redactor(SALT, ("$.user", "re:cust-[0-9]+")))
    expected = prepare(matcher, request)
    assert working(lambda worker: worker.run(prepare, matcher, request)) == expected
    assert expected[0].key == Matcher(matcher.rules, matcher.redactor).key(request)


def test_a_body_that_unpacks_to_much_is_looked_at_there() -> None:
    """50 kB of gzip that are 50 MB of JSON."""
    body = gzip.compress(b'{"model":"m","prompt":"' + b"a" * 50_000_000 + b'"}')
    request = Request("POST", "/v1/completions", (*JSON, ("Content-Encoding", "gzip")), body)
    matcher = Matcher(MatchRules(), Redactor(SALT))
    prepared, masked = working(lambda worker: worker.run(prepare, matcher, request))
    assert (prepared.model, masked) == ("m", None)


def test_an_answer_is_masked_there() -> None:
    """With all that its veil has seen before."""
    redactor = Redactor(SALT, ("$.user", "re:cust-[0-9]+"))
    body = b'data: {"choices":[{"delta":{"content":"' + KEY + b' cust-123"}}]}\n\n'

    def veiled() -> tuple[Head, StreamRedactor]:
        stream_redactor = redactor.stream_redactor(redactor.credentials())
        head = stream_redactor.head(Head(0, 200, SSE))
        stream_redactor.feed(Chunks(body, [len(body)], [1]))
        return head, stream_redactor

    head, stream_redactor = veiled()
    expected = finish_answer(stream_redactor, head)
    assert KEY not in expected[1].body
    assert b"cust-123" not in expected[1].body
    head, stream_redactor = veiled()
    assert working(lambda worker: worker.run(finish_answer, stream_redactor, head)) == expected
