"""Whatever happens to the bytes of a cassette: what it gives is what was recorded, or a `CassetteError`.

SQLite checksums nothing: of the damage done here it notices less than a half. The rest is ours.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.schema import PAGE_SIZE
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import MatchRules
from replayproxy.errors import CassetteError
from replayproxy.model import Exchange, RecordingRef, Response
from tests import fuzz
from tests.recordings import MATCHER, as_stored, keep, pieces, record, samples, story, streamed

FLIPS = fuzz.cases(160)


@dataclass
class Truth:
    """A whole cassette, and everything that was put on it."""

    content: bytes
    exchanges: dict[int, Exchange]
    answers: dict[RecordingRef, Response]
    file: Path
    """Where the damaged ones are put: in memory, if there is such a place."""
    loop: asyncio.Runner
    """One event loop for thousands of files."""


@pytest.fixture(scope="module")
def truth() -> Iterator[Truth]:
    """Some twenty exchanges of all kinds, with dictionaries, sealed."""
    memory = Path("/dev/shm")  # noqa: S108  a fresh folder in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder, asyncio.Runner() as loop:
        file = Path(folder) / "a.cassette"
        spoken = [replace(item, request=replace(item.request, target=f"/v1/x{n}")) for n, item in enumerate(samples())]
        exchanges = [*samples(), *spoken[:4]]
        record(file, exchanges)
        numbered = {number: bare(as_stored(item)) for number, item in enumerate(exchanges, 1)}
        with CassetteReader(file) as cassette:
            assert cassette.one("SELECT count(*) FROM dictionary")[0] > 0
            rows = cassette.all("SELECT number, key, occurrence FROM v_exchange WHERE occurrence IS NOT NULL")
        answers = {RecordingRef(key, occurrence): numbered[number].response for number, key, occurrence in rows}
        yield Truth(file.read_bytes(), numbered, answers, file, loop)


def bare(exchange: Exchange) -> Exchange:
    """Without its labels, which no digest covers: when, in which scope, how often stalled."""
    return replace(exchange, recorded_at=0, scope="", stalled=0)


@dataclass
class Told:
    """Everything that a cassette gives. `refused`: it said of something that it lists that it is damaged."""

    exchanges: dict[int, Exchange]
    answers: dict[RecordingRef, Response]
    refused: bool = False


def told(cassette: CassetteReader, truth: Truth) -> Told:
    """Ask for everything, in every way."""
    all_of_it = Told({}, {})
    try:
        listed = [row["number"] for row in cassette.rows("state = 'done'")]
        list(cassette.timelines())
    except CassetteError:
        all_of_it.refused, listed = True, list(range(1, 30))
    for number in listed:
        try:
            all_of_it.exchanges[number] = bare(cassette.exchange(number))
        except CassetteError:
            all_of_it.refused = True
    all_of_it.answers.update(truth.loop.run(played(cassette, truth.answers)))
    with suppress(CassetteError):
        assert isinstance(cassette.rules, MatchRules)
    return all_of_it


async def played(cassette: CassetteReader, places: Iterable[RecordingRef]) -> dict[RecordingRef, Response]:
    """What a player gets for each of these recordings, without those that the cassette refuses to give."""
    answers = {}
    for place in places:
        with suppress(CassetteError):
            if cassette.count(place.key) + cassette.count_broken(place.key) > place.occurrence:
                answers[place] = await cassette.read(place)
    return answers


def lies(truth: Truth, content: bytes) -> list[str]:
    """What a damaged cassette says that is not so."""
    truth.file.write_bytes(content)
    try:
        with CassetteReader(truth.file) as cassette:
            said = told(cassette, truth)
    except CassetteError:
        return []
    found = [f"exchange {number}" for number, item in said.exchanges.items() if truth.exchanges.get(number) != item]
    found += [f"{place}" for place, response in said.answers.items() if truth.answers[place] != response]
    if said.exchanges != truth.exchanges and not said.refused and not problems(truth.file):
        found.append("something is missing, and verify calls it clean")
    return found


def problems(file: Path) -> bool:
    """Whether `verify` finds any."""
    try:
        return verify(file)[1] != []
    except CassetteError:
        return True


def flipped(content: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """One byte of it is another, so many times; seldom one of those that are 0, for most of them mean nothing."""
    chance = random.Random(seed)
    places = [place for place, byte in enumerate(content) if byte]
    for _ in range(count):
        position = chance.choice(places) if chance.random() < 0.9 else chance.randrange(len(content))
        bits = chance.randrange(1, 256)
        damaged = bytearray(content)
        damaged[position] ^= bits
        yield f"byte {position} ^ {bits}", bytes(damaged)


def pages(content: bytes, seed: int) -> Iterator[tuple[str, bytes]]:
    """A page of it is lost, is noise, is another page, or is shifted by a byte."""
    chance = random.Random(seed)
    starts = range(0, len(content), PAGE_SIZE)
    for start in starts:
        other = chance.choice(starts)
        page = content[start : start + PAGE_SIZE]
        for name, instead in {
            "zeros": bytes(PAGE_SIZE),
            "noise": chance.randbytes(PAGE_SIZE),
            f"page {other // PAGE_SIZE}": content[other : other + PAGE_SIZE],
            "shifted": page[1:] + page[:1],
        }.items():
            yield (
                f"page {start // PAGE_SIZE} is {name}",
                content[:start] + instead + content[start + PAGE_SIZE :],
            )


def all_lies(truth: Truth, damages: Iterable[tuple[str, bytes]]) -> dict[str, list[str]]:
    """By damage; no other exception than a `CassetteError` comes out of any."""
    told_of: dict[str, list[str]] = {}
    for name, content in damages:
        try:
            found = lies(truth, content)
        except Exception as error:  # noqa: BLE001  whatever it is, it is what this is looking for
            found = [repr(error)]
        if found:
            told_of[name] = found
    return told_of


def test_the_truth_is_told_of_what_is_whole(truth: Truth) -> None:
    """The harness finds nothing where nothing is wrong, and something where something is."""
    truth.file.write_bytes(truth.content)
    with CassetteReader(truth.file) as cassette:
        assert told(cassette, truth) == Told(truth.exchanges, truth.answers)
    assert verify(truth.file) == (len(truth.exchanges), [])
    less = {number: item for number, item in truth.exchanges.items() if number > 1}
    assert lies(replace(truth, exchanges=less), truth.content) == [
        "exchange 1",
        "something is missing, and verify calls it clean",
    ]


@pytest.mark.parametrize("seed", range(7, 11))
def test_a_flipped_byte_changes_no_answer(truth: Truth, seed: int) -> None:
    """Anywhere: never wrong bytes, never another exception; and `verify` sees what is lost."""
    assert all_lies(truth, flipped(truth.content, FLIPS // 4, seed)) == {}


def test_a_bad_page_changes_no_answer(truth: Truth) -> None:
    """A disk fails by the page, not by the byte."""
    assert all_lies(truth, pages(truth.content, 7)) == {}


def test_a_truncated_cassette_is_refused_when_it_is_opened(truth: Truth) -> None:
    """At every page, and a byte to either side of it: before anything was played from it."""
    sizes = [place + step for place in range(0, len(truth.content), PAGE_SIZE) for step in (-1, 0, 1)]
    for size in sizes[1:]:
        truth.file.write_bytes(truth.content[:size])
        with pytest.raises(CassetteError):
            CassetteReader(truth.file)


def test_what_is_appended_is_not_read(truth: Truth) -> None:
    """A download that went on too long."""
    assert lies(truth, truth.content + b"\0" * 5000) == []
    assert lies(truth, truth.content + random.Random(7).randbytes(PAGE_SIZE)) == []


def test_a_damaged_log_changes_no_answer(tmp_path: Path) -> None:
    """What a crash left, and its log damaged: SQLite's checksums find the end of what is good, and we the rest."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, MATCHER)
    for tape, item in enumerate(samples()[:8]):
        keep(keeper, pieces(item, tape))
    sealed, log = path.read_bytes(), path.with_name("a.cassette-wal").read_bytes()
    keeper.close()
    expected = [bare(as_stored(item)) for item in samples()[:8]]
    left = tmp_path / "left.cassette"
    for name, damaged in flipped(log, 60, 7):
        for file in tmp_path.glob("left*"):
            file.unlink()
        left.write_bytes(sealed)
        left.with_name("left.cassette-wal").write_bytes(damaged)
        try:
            CassetteWriter(left, MATCHER).seal()
            with CassetteReader(left) as cassette:
                found = [
                    bare(cassette.exchange(row["number"])) for row in cassette.rows("state = 'done'", order="number")
                ]
        except CassetteError:
            continue
        assert found == expected[: len(found)], name


def test_a_long_answer_is_checked_too(tmp_path: Path) -> None:
    """Also one that is unpacked in a thread: flips within its payload never give another body."""
    long = replace(samples()[0], response=replace_body(samples()[0].response, streamed(story(3000, 1))))
    path = record(tmp_path / "a.cassette", [long])
    content = path.read_bytes()
    for _, damaged in flipped(content, 60, 7):
        path.write_bytes(damaged)
        try:
            with CassetteReader(path) as cassette:
                found = asyncio.run(cassette.read(RecordingRef(MATCHER.key(long.request), 0)))
        except CassetteError:
            continue
        assert found == as_stored(long).response


def replace_body(response: Response, chunks: list[bytes]) -> Response:
    """Another body with an even beat."""
    at = tuple(range(10_000_000, 10_000_000 + 10_000 * len(chunks), 10_000))
    return replace(
        response,
        body=b"".join(chunks),
        cuts=tuple(map(len, chunks)),
        timeline=replace(response.timeline, chunks=at, end=at[-1]),
    )
