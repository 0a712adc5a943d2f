"""A cassette that holds secrets is found out, and written anew without them."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette.checking.secrets import scan
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.database import Lock
from replayproxy.cassette.editing.redact import redact
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import Redactor
from replayproxy.errors import CassetteError, Locked, SettingsError
from replayproxy.model import Chunk, Chunks, End, Ending, Head, Leg, RecordingRef, Request, Response
from replayproxy.ports import ExchangePart
from tests.doubles.fakes import EPOCH, JSON, SSE
from tests.recordings import asked

SECRET = "sk-proj-" + "aB3" * 12
OTHER = "ghp_" + "cD4" * 12
EMAIL = "alice@example.com"


def answered(text: str, step: int = 3) -> Response:
    """A stream that says a text, some characters an event."""
    events = [
        b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text[at : at + step].encode()
        for at in range(0, len(text), step)
    ]
    chunks = [Chunk(1_000_000 * at, event) for at, event in enumerate([*events, b"data: [DONE]\n\n"], 1)]
    return Response.of(Head(500_000, 200, SSE), chunks, End(chunks[-1].at, Ending.COMPLETE))


def write(path: Path, count: int = 30, *, matcher: Matcher | None = None, end: bool = True) -> None:
    """An old cassette: two secrets and an address in requests, answers, and a leg, said often enough to be
    learnt by a dictionary."""
    keeper = CassetteWriter(path, matcher or Matcher(MatchRules()))
    for number in range(count):
        request = asked(f"{number % 10} use {SECRET if number % 2 else OTHER} for {EMAIL}")
        response = answered(f"{number}: I use {SECRET}, and tell {EMAIL}")
        leg = Leg(
            "prefill",
            "http://127.0.0.1:1",
            request,
            Response.of(Head(1, 200, JSON), [Chunk(2, b'{"k":"%b"}' % OTHER.encode())], End(3, Ending.COMPLETE)),
        )
        keeper.begin()
        keeper.keep(
            ExchangePart(
                number=number,
                request=request,
                recorded_at=EPOCH + number,
                head=Head(response.timeline.head, 200, response.headers),
                chunks=response.chunks(),
                end=End(response.timeline.end, Ending.COMPLETE) if end else None,
                legs=(leg,) if number == 0 else (),
            )
        )
        keeper.commit()
    if not end:
        keeper.close()
        return
    keeper.seal()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO dropped VALUES (1, 'queue full', 2)")


def everything(path: Path) -> str:
    """All that can be read, unpacked."""
    with CassetteReader(path) as cassette:
        numbers = [row["number"] for row in cassette.rows("state = 'done'")]
        said = [repr(cassette.exchange(number)) for number in numbers]
        said += ["".join(_delta(cassette.exchange(number).response.body)) for number in numbers]
        tables = ("meta", "dictionary", "endpoint")
        said += [repr(cassette.all(f"SELECT * FROM {table}")) for table in tables]  # noqa: S608  names of ours
    return "\n".join(said) + path.read_bytes().decode("latin-1")


def _delta(body: bytes) -> list[str]:
    return [part.split(b'"')[0].decode() for part in body.split(b'"content":"')[1:]]


def test_secrets_are_found_where_they_are_and_not_shown(tmp_path: Path) -> None:
    """By exchange, JSON path or event, and kind."""
    path = tmp_path / "old.cassette"
    write(path)
    leaks = list(scan(path))
    assert {leak.kind for leak in leaks} == {"sk- key", "GitHub token"}
    fields = {leak.field for leak in leaks}
    assert {"request $.messages[0].content", "answer event 4", "prefill answer $.k"} <= fields
    assert any(leak.where.startswith("dictionary") for leak in leaks)
    assert SECRET not in repr(leaks)
    addresses = [leak for leak in scan(path, [f"re:{EMAIL.replace('.', '[.]')}"]) if leak.kind == "--redact re:"]
    assert len(addresses) > 60


def test_a_cassette_is_written_anew_without_secrets(tmp_path: Path) -> None:
    """Everything else is there still, in its order; keys, digests and dictionaries hold."""
    path = tmp_path / "old.cassette"
    write(path)
    redacted = redact(path, ["re:[a-z]+@example[.]com"])
    assert redacted.exchanges == 30
    assert redacted.masked["sk- key"] > 40
    assert sorted(file.name for file in tmp_path.iterdir()) == ["old.cassette"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert verify(path) == (30, [])
    assert list(scan(path)) == []
    text = everything(path)
    assert [secret for secret in (SECRET, OTHER, EMAIL) if secret in text] == []
    with CassetteReader(path) as cassette:
        matcher = Matcher(cassette.rules, cassette.redactor)
        # Every tenth asked the same, with the same secret: an ordered list of three, as before.
        key = matcher.key(asked(f"3 use {SECRET} for {EMAIL}"))
        assert cassette.count(key) == 3
        heard = [asyncio.run(cassette.read(RecordingRef(key, n))).body for n in range(3)]
        assert ["".join(_delta(body)).partition(":")[0] for body in heard] == ["3", "13", "23"]
        assert cassette.one("SELECT sum(exchanges) FROM dropped")[0] == 2
        assert cassette.one("SELECT count(*) FROM dictionary")[0] > 0
        assert cassette.redactor is not None
        assert cassette.redactor.rules == ("re:[a-z]+@example[.]com",)


def test_redacting_again_changes_no_recording(tmp_path: Path) -> None:
    """The salt stays, and so does every mask and key."""
    path = tmp_path / "a.cassette"
    write(path)
    redact(path)
    with CassetteReader(path) as cassette:
        before = cassette.all("SELECT key, occurrence, digest FROM exchange ORDER BY id")
    assert redact(path).masked.total() == 0
    with CassetteReader(path) as cassette:
        assert cassette.all("SELECT key, occurrence, digest FROM exchange ORDER BY id") == before


def test_another_file_may_be_written(tmp_path: Path) -> None:
    """And the old one stays as it is; one that is there is not overwritten."""
    path, out = tmp_path / "old.cassette", tmp_path / "new.cassette"
    write(path)
    before = path.read_bytes()
    redact(path, out=out)
    assert path.read_bytes() == before
    assert list(scan(out)) == []
    with pytest.raises(CassetteError, match="is there already"):
        redact(path, out=out)


def test_what_a_killed_recorder_left_is_rewritten_too(tmp_path: Path) -> None:
    """Streams in flight, and what is in the log alone."""
    path = tmp_path / "killed.cassette"
    write(path, 3, end=False)
    lock = Lock(path)  # a recorder that is alive
    assert any(leak.where.startswith("stream in flight") for leak in scan(path))
    lock.release()
    assert {len(leak.where) for leak in scan(path)} == {8}  # by their ids
    redact(path)
    assert [file.name for file in tmp_path.iterdir()] == ["killed.cassette"]
    assert SECRET not in everything(path)
    assert verify(path) == (3, [])


def test_a_cassette_that_is_being_recorded_is_left_alone(tmp_path: Path) -> None:
    """Its recorder would write into a file that is gone."""
    path = tmp_path / "a.cassette"
    write(path, 2)
    keeper = CassetteWriter(path, Matcher(MatchRules()))
    try:
        with pytest.raises(Locked):
            redact(path)
    finally:
        keeper.close()


def test_a_recorder_with_other_rules_is_refused(tmp_path: Path) -> None:
    """One salt and one set of rules a cassette: else its keys would be of two kinds."""
    path = tmp_path / "a.cassette"
    write(path, 2)
    with pytest.raises(SettingsError, match="before secrets were masked"):
        CassetteWriter(path, Matcher(MatchRules(), Redactor(b"salt")))
    redact(path)
    with pytest.raises(SettingsError, match="with other redaction rules"):
        CassetteWriter(path, Matcher(MatchRules(), Redactor(b"another salt")))


def test_a_body_in_a_coding_that_is_not_known_is_named(tmp_path: Path) -> None:
    """What cannot be looked into is not called clean."""
    path = tmp_path / "snappy.cassette"
    keeper = CassetteWriter(path, Matcher(MatchRules(), Redactor(b"salt")))
    fields = (*JSON, ("content-encoding", "snappy"))
    keeper.begin()
    keeper.keep(
        ExchangePart(
            1,
            Request("GET", "/"),
            EPOCH,
            Head(1, 200, fields),
            Chunks(b"\x8b\x02", (2,), (2,)),
            End(3, Ending.COMPLETE),
        )
    )
    keeper.commit()
    keeper.seal()
    (leak,) = scan(path)
    assert "cannot be looked into" in leak.kind
    assert redact(path).exchanges == 1
