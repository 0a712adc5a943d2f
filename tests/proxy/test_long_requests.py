"""A request that takes long to compare is looked at in a thread, once: other streams have their times."""

from __future__ import annotations

import gzip
import threading

import pytest

from replayproxy.core.matching import SHORT, Matcher, Rules
from replayproxy.core.policy import Mode
from replayproxy.core.redaction import Redactor
from replayproxy.model import Key, Request
from tests.fakes import JSON
from tests.proxy.test_handler import CHAT, MATCHER, ONE, House

CODED = (*JSON, ("Content-Encoding", "gzip"))


def of_size(size: int) -> bytes:
    """A chat of about so many bytes."""
    return b'{"prompt":"' + b"a" * (size - 13) + b'"}'


class Watching(Matcher):
    """Says in which threads it worked."""

    def __init__(self) -> None:
        super().__init__(Rules())
        self.threads: list[bool] = []

    def key(self, request: Request) -> Key:
        """As it was; notes whether the event loop's thread did it."""
        self.threads.append(threading.current_thread() is threading.main_thread())
        return super().key(request)


@pytest.mark.parametrize(
    ("request_", "in_loop"),
    [
        (Request("POST", CHAT, JSON, of_size(SHORT)), True),
        (Request("POST", CHAT, JSON, of_size(SHORT + 1)), False),
        (Request("POST", CHAT, CODED, gzip.compress(of_size(200_000))), False),
        (Request("POST", CHAT, (("Content-Encoding", "identity"),), of_size(1000)), True),
    ],
    ids=["short", "long", "long in a coding", "short, no coding"],
)
def test_the_key_of_a_long_request_is_made_in_a_thread(request_: Request, in_loop: bool) -> None:
    """From 64 KiB on; a body in a coding may be as long as it likes."""
    house = House(Mode.REPLAY, recordings=[(request_, ONE)])
    house.proxy.matcher = matcher = Watching()
    house.ask(request_)
    assert matcher.threads == [in_loop]
    assert dict(house.tally.requests) == {"replay": 1}


def test_a_long_request_without_a_recording_is_a_miss() -> None:
    """Looked at in a thread too, and shown without its secrets."""
    house = House(Mode.REPLAY, recordings=[(Request("POST", CHAT, JSON, of_size(100)), ONE)])
    house.ask(Request("POST", CHAT, JSON, b"{" + b",".join(b'"k%d":1' % number for number in range(10_000)) + b"}"))
    assert sum(house.tally.misses.values()) == 1


def test_a_long_request_is_masked_once() -> None:
    """For its key and for the cassette: the same value, kept with the request, and not for another redactor."""
    redactor, other = Redactor(b"0123456789abcdef"), Redactor(b"fedcba9876543210")
    request = Request("POST", CHAT, JSON, of_size(50_000)[:-2] + b" sk-proj-" + b"aB3" * 12 + b'"}')
    masked = redactor.request(request)
    assert b"sk-proj" not in masked.body
    assert redactor.request(request) is masked
    assert other.request(request).body != masked.body
    assert MATCHER.key(request) == Matcher(Rules()).key(request)
