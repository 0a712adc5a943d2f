"""A cassette of format 2 opens, for ever (cassettes/README.md); as `test_golden` says it of format 1.

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

FILE = Path(__file__).parents[2] / "cassettes" / "format-2.cassette"

SHA256 = "d37fa4178499e1596c9a2522e25bc40bef297ff992c58605faa7782ea4063c9e"

EXCHANGES: list[tuple[object, ...]] = [
    ("POST", "/v1/chat/completions", 200, "complete", 0, 21, 110, 4471, "a31236b7a2b2c9b6"),
    ("POST", "/v1/chat/completions", 200, "complete", 1, 26, 110, 5531, "88f55a8958abde21"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 1, 96, 783, "03fe04b267c2ac74"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 27, 150, 5725, "5e2e45633243cdff"),
    ("POST", "/v1/chat/completions", 200, "complete", 2, 26, 146, 5531, "44c0633d0b2502e1"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 51, 134, 11116, "011c936e24393bae"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 1, 120, 1196, "706dd5d674e4e706"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 5, 147, 2596, "220fbfc52278f509"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 159, 5519, "8347a2dd22201ffc"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 1, 353, 792, "d881ff7bc72ff13f"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 367, 5540, "41b9573645b22184"),
    ("POST", "/v1/chat/completions", 400, "complete", 0, 1, 357, 135, "18ed82dc9ca8a83e"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 3, 107, 559, "6514e54b2ff1260d"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 6, 120, 1302, "941caca61c489d0e"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 120, 5551, "f0a7f6b447440a4c"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 120, 5519, "9ae1487acc63515f"),
    ("POST", "/v1/chat/completions", 200, "complete", 0, 26, 120, 5541, "e697c13cff5daadc"),
    ("POST", "/v1/chat/completions", 200, "complete", 1, 25, 120, 5330, "1da0722989e45b30"),
    ("POST", "/v1/chat/completions", 200, "complete", 1, 26, 120, 5551, "48f11197ba12ce06"),
    ("POST", "/v1/chat/completions", 200, "complete", 1, 25, 120, 5307, "af4a0474a0e101b5"),
    ("POST", "/v1/chat/completions", 200, "complete", 1, 26, 120, 5541, "926417cc8075ef9c"),
    ("POST", "/v1/completions", 200, "complete", 0, 25, 90, 5775, "21bec7c825e563e3"),
    ("POST", "/v1/completions", 200, "complete", 0, 1, 76, 680, "996d641108a6b9a5"),
    ("POST", "/v1/completions", 200, "complete", 0, 22, 93, 5080, "47aa0ff3d8b626ef"),
    ("POST", "/v1/completions", 200, "complete", 0, 1, 70, 745, "f198894821e46490"),
    ("POST", "/v1/responses", 200, "complete", 0, 1, 71, 1174, "a0b41ab83cafdbe2"),
    ("POST", "/v1/responses", 200, "complete", 0, 10, 85, 4437, "1bc8b440abec3e23"),
    ("POST", "/v1/messages", 200, "complete", 0, 12, 93, 1488, "53b818528dbfff34"),
    ("POST", "/tokenize", 200, "complete", 0, 1, 34, 73, "8b0d230a6e191947"),
    ("GET", "/v1/models", 200, "complete", 0, 1, 0, 461, "8c5bcf1ae56e270b"),
    ("POST", "/v1/chat/completions", 404, "complete", 0, 1, 98, 129, "dde482ef7ad43d15"),
    ("POST", "/v1/chat/completions", 400, "complete", 0, 1, 31, 234, "4b2897bb7e0ff117"),
    ("POST", "/v1/chat/completions", 400, "complete", 0, 1, 104, 216, "3d5b3f9b31e62ee3"),
    ("DELETE", "/v1/models", 405, "complete", 0, 1, 0, 31, "a04b0b9be373d0af"),
    ("POST", "/v1/chat/completions", 200, "client_left", 0, 9, 145, 2002, "1b4efa166336c0a4"),
    ("POST", "/v1/chat/completions", 200, "proxy_stopped", None, 21, 143, 4590, "07430c03f98c5a70"),
]

TEXTS: dict[int, str] = {
    1: " {!acreal:methodindexter$ sockghtlocals namesustomary interpreter operatorbrNoneiblyspect opekate request",
    3: " {!acreal:methodindexter$ sockghtlocals namesustomary interpreter operatorbrNoneiblyspect opekate request",
    9: "light endequallushPATHrap8859illch untilloader80SE keep charscs equivalent!�86classnown `is",
    26: " {!acreal:methodindexter$",
}


def test_the_file_is_what_it_was() -> None:
    """Not a byte of it has changed."""
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256


def test_everything_that_was_recorded_is_there() -> None:
    """Method, path, status, ending, occurrence, chunks, sizes and digest of each, in order; verify finds nothing."""
    assert table(FILE) == EXCHANGES
    assert verify(FILE) == (len(EXCHANGES), [])
    with Cassette(FILE) as cassette:
        assert cassette.stored.number == 2


def test_every_recording_can_be_played() -> None:
    """By the key of its request, as a replay finds it; what had broken cannot."""
    matcher = Matcher(Rules())
    with Cassette(FILE) as cassette:
        for number, row in enumerate(EXCHANGES, 1):
            exchange = cassette.exchange(number)
            key, occurrence = matcher.key(exchange.request), row[4]
            if occurrence is None:
                assert exchange.response.ending is Ending.PROXY_STOPPED
                assert cassette.count_broken(key) == 1
                continue
            assert isinstance(occurrence, int)
            assert asyncio.run(cassette.read(Place(key, occurrence))) == exchange.response


@pytest.mark.parametrize(("number", "text"), TEXTS.items())
def test_what_models_said_can_be_read(number: int, text: str) -> None:
    """Deltas, joined."""
    with Cassette(FILE) as cassette:
        assert text_of(cassette.response(number)) == text
