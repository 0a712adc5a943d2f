"""A cassette that was recorded long ago opens, for ever (cassettes/README.md).

What is written down here was printed by tests/golden.py when the file was made, and is never adapted to the code.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from replayproxy.cassette.cassette import Cassette
from replayproxy.cassette.verifying import verify
from replayproxy.core.matching import Matcher, Rules
from replayproxy.core.openai import text_of
from replayproxy.model import Ending, Place
from tests.golden import table

FILE = Path(__file__).parents[2] / "cassettes" / "format-1.cassette"

SHA256 = "6242ad9d4bc8358bfeefc91bca628bd1a5cd87d611f6021a17fd85cd7e6509e7"

EXCHANGES: list[tuple[object, ...]] = [
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 110, 5529, "8487dd87367493a8"),
    ("POST", "/v1/chat/completions", 200, "complete", 1, 26, 110, 5529, "5ba0d4eb3d4be4a0"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 1, 96, 781, "d49d15b714d1a5cc"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 27, 150, 5723, "7107f6f778bc07fd"),
    ("POST", "/v1/chat/completions", 200, "complete", 2, 26, 146, 5529, "14f44ce74c152d1d"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 51, 134, 11116, "97dacad1594f55b3"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 1, 120, 1196, "985a123c4745964a"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 8, 147, 3171, "6fc53c8f09aac1f3"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 159, 5523, "89c3d079f6c5ae84"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 1, 353, 821, "7aa4ee6e2d7b80a1"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 367, 5569, "af57684c7e9dacb4"),
    ("POST", "/v1/chat/completions", 400, "complete", 0, 1, 357, 135, "a967616fbfcfac2b"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 3, 107, 559, "8b2d06c069a3583e"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 120, 5539, "dc8b5cd050ae304c"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 120, 5554, "eebea1b216426228"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 120, 5519, "d84151448c04d2fd"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 120, 5547, "3e540161db1345eb"),
    ("POST", "/v1/chat/completions", 200, "complete", 1, 26, 120, 5539, "aeb8b39be711f57b"),
    ("POST", "/v1/chat/completions", 200, "complete", 1, 26, 120, 5554, "43f96939fb0d48b4"),
    ("POST", "/v1/chat/completions", 200, "complete", 1, 26, 120, 5519, "ef7c9091bd480fe3"),
    ("POST", "/v1/chat/completions", 200, "complete", 1, 26, 120, 5547, "c483591911de92e0"),
    ("POST", "/v1/completions", 200, "complete", 0, 25, 90, 5776, "8129f876a1b00681"),
    ("POST", "/v1/completions", 200, "complete", 0, 1, 76, 681, "95e3c327bbf2ae93"),
    ("POST", "/v1/completions", 200, "complete", 0, 25, 93, 5780, "ce3b8c5434c4b8ad"),
    ("POST", "/v1/completions", 200, "complete", 0, 1, 70, 746, "3c78611792d1e59b"),
    ("POST", "/v1/responses", 200, "complete", 0, 1, 71, 1174, "c52de03cd563aa3c"),
    ("POST", "/v1/responses", 200, "complete", 0, 16, 85, 5595, "d682ac7ee788d087"),
    ("POST", "/v1/messages", 200, "complete", 0, 13, 93, 1599, "d967e567414bb3c2"),
    ("POST", "/tokenize", 200, "complete", 0, 1, 34, 73, "8c907757c76154e1"),
    ("GET", "/v1/models", 200, "complete", 0, 1, 0, 461, "7b5788a7346eb282"),
    ("POST", "/v1/chat/completions", 404, "complete", 0, 1, 98, 129, "99363c30923d22e6"),
    ("POST", "/v1/chat/completions", 400, "complete", 0, 1, 31, 234, "d9e17d9f18e8d3b1"),
    ("POST", "/v1/chat/completions", 400, "complete", 0, 1, 104, 216, "305716972fd94953"),
    ("DELETE", "/v1/models", 405, "complete", 0, 1, 0, 31, "781a35f73540c71c"),
    ("POST", "/v1/chat/completions", 200, "client_left", None, 9, 145, 1998, "8526958c82fead42"),
    ("POST", "/v1/chat/completions", 200, "proxy_stopped", None, 9, 143, 1988, "19796d3411a454f5"),
]

TEXTS: dict[int, str] = {
    1: " {!acreal:methodindexter$ sockghtlocals namesustomary interpreter operatorFF` pririesctions untill stop",
    3: " {!acreal:methodindexter$ sockghtlocals namesustomary interpreter operatorFF` pririesctions untill stop",
    9: 'light endequallushPATHrap8859illch untilloader80 []terodules zillNAMELINEworksqrtcommand [" last',
    26: " {!acreal:methodindexter$",
}


def test_the_file_is_the_one_that_was_recorded() -> None:
    """Nobody has recorded it again, and nobody has opened it for writing."""
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256


def test_it_opens_and_everything_in_it_holds() -> None:
    """Keys, columns, digests and places are derived again from what is stored, and are what is written."""
    assert verify(FILE) == (len(EXCHANGES), [])


def test_everything_that_was_recorded_is_there() -> None:
    """Method, path, status, ending, occurrence, chunks, sizes and digest of each, in order."""
    assert table(FILE) == EXCHANGES


def test_it_says_what_it_is() -> None:
    """Format, maker and rules."""
    with Cassette(FILE) as cassette:
        assert cassette.one("SELECT application_id, user_version FROM pragma_application_id, pragma_user_version") == (
            0x52504C59,
            1,
        )
        assert cassette.meta["creator"] == "replayproxy 0.1.0"
        assert cassette.rules == Rules()
        kinds = cassette.all("SELECT kind FROM dictionary ORDER BY id")
        assert kinds == [("vocabulary",), ("request",), ("answer",)]


def test_every_recording_can_be_played() -> None:
    """By the key of its request, as a replay finds it, also one whose client had left; what had broken cannot."""
    matcher = Matcher(Rules())
    with Cassette(FILE) as cassette:
        for number, row in enumerate(EXCHANGES, 1):
            exchange = cassette.exchange(number)
            key, occurrence = matcher.key(exchange.request), row[4]
            if occurrence is None:
                assert exchange.response.ending is not Ending.COMPLETE
                left = exchange.response.ending is Ending.CLIENT_LEFT
                assert (cassette.count(key), cassette.count_broken(key)) == (left, not left)
                continue
            assert isinstance(occurrence, int)
            assert asyncio.run(cassette.read(Place(key, occurrence))) == exchange.response


@pytest.mark.parametrize(("number", "text"), TEXTS.items())
def test_what_the_model_said(number: int, text: str) -> None:
    """In plain words, so that not everything here rests on digests."""
    with Cassette(FILE) as cassette:
        assert text_of(cassette.response(number)) == text
