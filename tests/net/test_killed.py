"""A recorder that was killed in the middle of streams: what it had written is read, without a byte being written.

Recorders and replays are real processes; verbs that read run in this one. Streams that were in flight count as cut by
a crash for the verbs that read and for replay, by the ids that they had; a recorder that opens the file makes it so in
the file.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from replayproxy.model import Request
from tests import wire
from tests.apps import recording, run, running
from tests.cli.tapes import Read, reader
from tests.doubles.upstreams import DONE, END, STREAM, Hang, Send, Step, chunk, event, scripted
from tests.processes import Proxy, replaying
from tests.recordings import asked

EVENTS = [event(number) for number in range(40)]
BODY = b"".join(EVENTS)
STREAMS: dict[str, Request] = {
    "chat": asked("chat", stream=True),
    "the same again": asked("chat", stream=True),
    "text": Request("POST", "/v1/completions", (("Content-Type", "application/json"),), b'{"prompt":"x"}'),
    "messages": asked("messages", "/v1/messages", stream=True),
}
SCRIPT: tuple[Step, ...] = (Send(STREAM + b"".join(map(chunk, EVENTS))), Hang())


def written(cassette: Path) -> int:
    """How many streams in flight are on the file, read as anybody may, without a lock."""
    with closing(sqlite3.connect(f"file:{cassette}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(DISTINCT exchange) FROM segment").fetchone()[0])


async def kill_in_streams(cassette: Path, *, whole: bool) -> None:
    """Record an answer to its end (if `whole`) and four that do not end; kill the recorder once all are on the file."""
    async with scripted(Send(STREAM + chunk(EVENTS[0]) + chunk(DONE) + END)) as ending, scripted(*SCRIPT) as upstream:
        if whole:
            proxy = await asyncio.to_thread(started, cassette, ending.url)
            assert (await wire.ask(proxy.url, asked("whole", stream=True))).whole
            await asyncio.to_thread(proxy.stop)
        proxy = await asyncio.to_thread(started, cassette, upstream.url)
        try:
            asking = [asyncio.create_task(wire.ask(proxy.url, request)) for request in STREAMS.values()]
            async with asyncio.timeout(30):
                while written(cassette) < len(STREAMS):
                    await asyncio.sleep(0.05)
        finally:
            await asyncio.to_thread(proxy.kill)
        for one in await asyncio.gather(*asking):
            assert (one.whole, one.body) == (False, BODY)  # the client had got all of it


def started(cassette: Path, upstream: str) -> Proxy:
    """A recorder."""
    return Proxy("record", cassette, "--upstream", upstream, "--port", "0", "--admin-port", "off", "--no-probe")


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "behind a whole one"])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the killed recorder has left."""
    cassette = tmp_path_factory.mktemp("killed") / "a.cassette"
    run(kill_in_streams(cassette, whole=request.param))
    return cassette


def files(folder: Path) -> dict[str, bytes]:
    """Everything in it but the index of the log, which any reader makes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.endswith("-shm")}


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Read:
    """Runs a verb that reads, in this process."""
    return reader(capsys)


def listed(read: Read, cassette: Path) -> list[dict[str, Any]]:
    """What `ls` says of those that were cut."""
    ended = read("ls", cassette, "--json")
    assert ended.code == 0, ended.err
    rows: list[dict[str, Any]] = json.loads(ended.out)
    return [row for row in rows if row["ending"] == "proxy_crashed"]


def test_verbs_that_read_find_the_streams_and_write_nothing(killed: Path, read: Read) -> None:
    """`ls`, `show`, `stats`, `info`, `verify`: with ids, chunks and texts."""
    before = files(killed.parent)
    rows = listed(read, killed)
    assert [(row["chunks"], row["state"], row["status"]) for row in rows] == [(len(EVENTS), "done", 200)] * 4
    assert len({row["id"] for row in rows}) == 4
    for row in rows:
        shown = read("show", killed, row["id"])
        assert (shown.code, "w39" in shown.out) == (0, True), shown
    for verb in ("stats", "info"):
        assert read(verb, killed).code == 0
    verified = read("verify", killed)
    assert verified.code == 0, verified
    count = 4 + (len(json.loads(read("ls", killed, "--json").out)) == 5)
    assert f"{count} exchanges" in verified.out + verified.err
    assert files(killed.parent) == before


def test_replay_plays_them_as_far_as_they_go_and_writes_nothing(killed: Path) -> None:
    """With --allow-incomplete, with the break at the same byte; without it their miss says what they are."""
    before = files(killed.parent)

    async def ask(url: str) -> list[wire.Answer]:
        return [await wire.ask(url, request) for request in STREAMS.values()]

    with replaying(killed, "--allow-incomplete") as proxy:
        played = run(ask(proxy.url))
    assert [(one.status, one.whole, one.body) for one in played] == [(200, False, BODY)] * 4
    with replaying(killed) as proxy:
        missed = run(ask(proxy.url))
    assert [one.status for one in missed] == [404] * 4
    assert all(b"incomplete_only" in one.body for one in missed)
    assert files(killed.parent) == before


def test_the_next_recorder_marks_them_in_the_file(killed: Path, tmp_path: Path, read: Read) -> None:
    """It is the first that writes; what it leaves is one sealed file with the same answers."""
    copy = tmp_path / "a.cassette"
    for name, content in files(killed.parent).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "a.cassette.lock").unlink(missing_ok=True)
    columns = ("number", "chunks", "ending", "path", "recorded_at", "response_size")
    before = [[row[name] for name in columns] for row in listed(read, copy)]

    async def record_nothing() -> None:
        async with running(recording(copy, "http://127.0.0.1:9")):
            pass

    run(record_nothing())
    assert [[row[name] for name in columns] for row in listed(read, copy)] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.cassette"]
