"""A cassette that was recorded long ago opens, for ever, in each format that there was (cassettes/README.md).

What is written down here was printed by tests/golden.py when each file was made, and is never adapted to the code.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.dialects.facts import text_of
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Ending, RecordingRef
from tests.golden import table

FOLDER = Path(__file__).parents[2] / "cassettes"

EXCHANGES_1: list[tuple[object, ...]] = [
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

TEXTS_1: dict[int, str] = {
    1: " {!acreal:methodindexter$ sockghtlocals namesustomary interpreter operatorFF` pririesctions untill stop",
    3: " {!acreal:methodindexter$ sockghtlocals namesustomary interpreter operatorFF` pririesctions untill stop",
    9: 'light endequallushPATHrap8859illch untilloader80 []terodules zillNAMELINEworksqrtcommand [" last',
    26: " {!acreal:methodindexter$",
}

EXCHANGES_2: list[tuple[object, ...]] = [
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

TEXTS_2: dict[int, str] = {
    1: " {!acreal:methodindexter$ sockghtlocals namesustomary interpreter operatorbrNoneiblyspect opekate request",
    3: " {!acreal:methodindexter$ sockghtlocals namesustomary interpreter operatorbrNoneiblyspect opekate request",
    9: "light endequallushPATHrap8859illch untilloader80SE keep charscs equivalent!�86classnown `is",
    26: " {!acreal:methodindexter$",
}


@dataclass(frozen=True)
class Golden:
    """What is on one of them. `left_plays`: its answer whose client had left has a place of its own in the file."""

    number: int
    sha256: str
    creator: str
    exchanges: list[tuple[object, ...]]
    texts: dict[int, str]
    left_plays: bool

    @property
    def file(self) -> Path:
        """Where it is."""
        return FOLDER / f"format-{self.number}.cassette"


FORMATS = [
    Golden(
        1,
        "6242ad9d4bc8358bfeefc91bca628bd1a5cd87d611f6021a17fd85cd7e6509e7",
        "replayproxy 0.1.0",
        EXCHANGES_1,
        TEXTS_1,
        left_plays=False,
    ),
    Golden(
        2,
        "67566d905048ad209540c9be73d2ca0573510ea1ff382b962013f581d0f1778b",
        "replayproxy 0.1.0",
        EXCHANGES_2,
        TEXTS_2,
        left_plays=True,
    ),
    Golden(
        3,
        "012899fd65471192173f95ca0d0896c70648c55dd606ca30f0d66a34437a45f7",
        "replayproxy 0.1.0",
        EXCHANGES_2,
        TEXTS_2,
        left_plays=True,
    ),
]


@pytest.fixture(params=FORMATS, ids=lambda golden: f"format {golden.number}")
def golden(request: pytest.FixtureRequest) -> Golden:
    """Each of them."""
    found: Golden = request.param
    return found


def test_there_is_one_of_each_format(golden: Golden) -> None:
    """Nobody has recorded it again, and nobody has opened it for writing: not a byte has changed."""
    assert hashlib.sha256(golden.file.read_bytes()).hexdigest() == golden.sha256
    assert len(list(FOLDER.glob("format-*.cassette"))) == len(FORMATS)


def test_it_opens_and_everything_in_it_holds(golden: Golden) -> None:
    """Keys, columns, digests and places are derived again from what is stored, and are what is written."""
    assert verify(golden.file) == (len(golden.exchanges), [])


def test_everything_that_was_recorded_is_there(golden: Golden) -> None:
    """Method, path, status, ending, occurrence, chunks, sizes and digest of each, in order."""
    assert table(golden.file) == golden.exchanges


def test_it_says_what_it_is(golden: Golden) -> None:
    """Format, maker and rules."""
    with CassetteReader(golden.file) as cassette:
        assert cassette.one("SELECT application_id, user_version FROM pragma_application_id, pragma_user_version") == (
            0x52504C59,
            golden.number,
        )
        assert cassette.stored.number == golden.number
        assert cassette.meta["creator"] == golden.creator
        assert cassette.rules == MatchRules()
        kinds = cassette.all("SELECT kind FROM dictionary ORDER BY id")
        assert kinds == [("vocabulary",), ("request",), ("answer",)]


def test_every_recording_can_be_played(golden: Golden) -> None:
    """By the key of its request, as a replay finds it, also one whose client had left; what had broken cannot."""
    matcher = Matcher(MatchRules())
    with CassetteReader(golden.file) as cassette:
        for number, row in enumerate(golden.exchanges, 1):
            exchange = cassette.exchange(number)
            key, occurrence = matcher.key(exchange.request), row[4]
            left = exchange.response.ending is Ending.CLIENT_LEFT
            if occurrence is None:
                assert exchange.response.ending is not Ending.COMPLETE
                assert not (left and golden.left_plays)
                assert (cassette.count(key), cassette.count_broken(key)) == (left, not left)
                continue
            assert isinstance(occurrence, int)
            assert asyncio.run(cassette.read(RecordingRef(key, occurrence))) == exchange.response


@pytest.mark.parametrize(
    ("golden", "number", "text"),
    [(golden, number, text) for golden in FORMATS for number, text in golden.texts.items()],
    ids=lambda value: str(value.number) if isinstance(value, Golden) else str(value)[:8],
)
def test_what_the_model_said(golden: Golden, number: int, text: str) -> None:
    """In plain words, so that not everything here rests on digests."""
    with CassetteReader(golden.file) as cassette:
        assert text_of(cassette.response(number)) == text
