"""A miss explains itself: a 404 that no SDK retries, with a sentence, a code and a number."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import orjson
import pytest

from replayproxy.core.identity.difference import Difference
from replayproxy.model import Chunk, Ending, Request, Response
from replayproxy.proxy import misses as module
from replayproxy.proxy.misses import Misses, miss_response, own_response
from replayproxy.views.miss import Miss
from tests.views.test_miss import DATE, WARMTH, near

CHAT = Request("POST", "/v1/chat/completions?x=1", (), b"{}")

EXPLAINED: list[tuple[Miss, str]] = [
    (
        Miss("nothing_close", CHAT, "rp1:00", here=7),
        "replayproxy: no recording matches this POST /v1/chat/completions, and none of the 7 there are for this"
        " endpoint comes close: record it, with --on-miss record and an --upstream.",
    ),
    (
        Miss("nothing_close", CHAT, "rp1:00", here=1),
        "replayproxy: no recording matches this POST /v1/chat/completions, and the one there is for this endpoint does"
        " not come close: record it, with --on-miss record and an --upstream.",
    ),
    (
        Miss("nothing_close", CHAT, "rp1:00", every=3),
        "replayproxy: no recording matches this POST /v1/chat/completions, and there is none for this endpoint: record"
        " it, with --on-miss record and an --upstream.",
    ),
    (
        Miss("exhausted", CHAT, "rp1:00", recorded=1, request_count=2),
        "replayproxy: POST /v1/chat/completions was recorded once and is asked for the 2nd time: record it again, or"
        " replay with --at-end cycle or last.",
    ),
    (
        Miss("exhausted", CHAT, "rp1:00", "blue", recorded=2, request_count=3),
        "replayproxy: POST /v1/chat/completions was recorded twice and is asked for the 3rd time in scope blue: record"
        " it again, or replay with --at-end cycle or last.",
    ),
    (
        Miss("incomplete_only", CHAT, "rp1:00", recorded=3, request_count=1),
        "replayproxy: POST /v1/chat/completions was recorded 3 times, but no answer can be played: the upstream or the"
        " proxy broke it off, or the client left before it began. Record it again, or replay with --allow-incomplete to"
        " get what there is, with its break.",
    ),
    (
        Miss("unsupported", CHAT, "rp1:00"),
        "replayproxy: POST /v1/chat/completions asks for another protocol than HTTP, which is not recorded: forward it"
        " to a live server.",
    ),
]


@pytest.mark.parametrize(("miss", "sentence"), EXPLAINED, ids=lambda value: getattr(value, "code", ""))
def test_what_each_cause_gets(miss: Miss, sentence: str) -> None:
    """404 in OpenAI's envelope; the sentence says what happened, with which thing, and what to do now."""
    response = miss_response(miss, "m-0001")
    assert (response.status, response.ending) == (404, Ending.COMPLETE)
    assert response.headers == (
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(response.body))),
        ("X-Replayproxy-Miss", "m-0001"),
        ("X-Replayproxy-Error", miss.code),
        ("X-Should-Retry", "false"),
    )
    assert orjson.loads(response.body) == {
        "error": {"message": sentence, "type": "replay_miss", "param": None, "code": miss.code}
    }


def test_the_same_cause_has_one_number_and_a_count() -> None:
    """By code and key; the scope and the asking do not make another cause. The latest words are kept."""
    misses = Misses()
    asked: list[tuple[str, dict[str, Any]]] = [
        ("rp1:a", {"request_count": 2}),
        ("rp1:b", {"request_count": 2}),
        ("rp1:a", {"request_count": 3}),
        ("rp1:a", {"request_count": 9, "scope": "other"}),
    ]
    names = [misses.note(Miss("exhausted", CHAT, key, **more)) for key, more in asked]
    assert names == ["m-0001", "m-0002", "m-0001", "m-0001"]
    assert misses.note(Miss("no_match", CHAT, "rp1:a")) == "m-0003"
    assert [(name, miss.key, miss.request_count, times) for name, miss, times in misses.causes.values()] == [
        ("m-0001", "rp1:a", 9, 3),
        ("m-0002", "rp1:b", 2, 1),
        ("m-0003", "rp1:a", 0, 1),
    ]


def test_what_is_remembered_is_bounded() -> None:
    """The oldest cause goes; numbers are not used again."""
    misses = Misses(limit=100_000)
    long = replace(CHAT, target="/v1/" + "x" * 60_000, body=b"x" * 1_000_000)
    for number in range(1000):
        misses.note(Miss("no_match", long, f"rp1:{number}", scope="s" * 256))
        assert misses.bytes <= 100_000
    kept = len(misses.causes)
    assert 10 < kept < 50
    assert misses.forgotten == {"no_match": 1000 - kept}
    assert misses.note(Miss("no_match", CHAT, "rp1:0")) == "m-1001"
    misses.clear()
    assert (misses.bytes, misses.forgotten, len(misses.causes)) == (0, {}, 0)


def test_a_million_different_misses_take_no_more_than_was_allowed() -> None:
    """Sizes are about what Python needs; the same cause again takes nothing."""
    tracemalloc.start()
    try:
        misses = Misses()
        for number in range(20_000):
            misses.note(Miss("nothing_close", replace(CHAT, body=b"x" * 10_000), f"rp1:{number:032x}"))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.2 * misses.bytes < used < 2 * misses.bytes <= 2 * module.MAX_BYTES
    before = misses.bytes
    for _ in range(10):
        misses.note(Miss("nothing_close", CHAT, f"rp1:{19_999:032x}"))
    assert misses.bytes == before


@pytest.mark.parametrize("body", [b"", b"x"])
def test_our_own_answers_are_whole_and_at_once(body: bytes) -> None:
    """One chunk or none, at time 0, and never a 5xx from here."""
    response = own_response(200, body)
    assert list(response.chunks()) == [Chunk(0, body)] * bool(body)
    assert response.timeline.end == 0


def test_no_miss_is_ever_a_server_error_or_an_empty_success() -> None:
    """SDKs retry 408, 409, 429 and 5xx: each miss would count three times."""
    answers: list[Response] = [miss_response(miss, "m-0001") for miss, _ in EXPLAINED]
    assert {response.status for response in answers} == {404}
    assert all(response.body for response in answers)


def test_a_near_miss_says_where_it_differs() -> None:
    """To the client: the recording, how many differences and where, the first place as `param`."""
    error = orjson.loads(miss_response(near(DATE, WARMTH), "m-0001").body)["error"]
    assert error == {
        "message": "replayproxy: no recording matches this POST /v1/chat/completions. Closest: 7f3a1c02 (ci.cassette),"
        " 2 differences at $.messages[3].content, $.temperature. Make the request as it was recorded, or record it"
        " again with --on-miss record and an --upstream.",
        "type": "replay_miss",
        "param": "$.messages[3].content",
        "code": "no_match",
    }
    alone = replace(near(DATE), every=1, here=1).explanation
    assert alone.startswith("No recording matches this POST /v1/chat/completions (1 is there; 1 to this endpoint).")
    many = near(*[Difference(f"$.a[{number}]", "1", "2") for number in range(5)], more=3)
    assert "8 differences at $.a[0], $.a[1], $.a[2] and 5 more." in many.sentence
