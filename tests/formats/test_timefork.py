"""Tapes of Timefork: made by its own classes; chunks with whole ms, and hostile indexes."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.formats.source import SourceFile, UnreadableSource
from replayproxy.formats.table import format_of
from replayproxy.formats.timefork import INDEX, NO_PATH, OBJECTS, REPLAYED, TIMEFORK, TOOL
from tests.formats.files import exchanges_of, imported
from tests.formats.peers import run

STREAM = b"data: one\n\ndata: two\n\n"
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "a" * 600}, {"role": "user", "content": "b"}]}

WRITE = """
import json, sys
from pathlib import Path
from timefork.tape.model import Run, Step
from timefork.tape.tape import Tape
from timefork.tape.chunk import split
tape = Tape(Path(sys.argv[1]))
tape.index.put_run(Run(id="r", created_at=1.0, cmd="c", cwd="/"))
request, stream = json.loads(sys.argv[2]), sys.argv[3].encode()
body = split(json.dumps(request).encode(), tape.blobs)
step = dict(run_id="r", call_hash="h", provider="openai", model="m", latency_ms=30, ts=100.5)
step["path"] = "/v1/chat/completions"
blobs = dict(request_blob=tape.blobs.put(body), response_blob=tape.blobs.put(stream))
live = dict(source="live", stream=True, timing="[[11, 20], [22, 30]]")
tape.index.put_step(Step(seq=0, occurrence=0, **live, **step, **blobs))
tape.index.put_step(Step(seq=1, occurrence=1, source="tape", stream=True, **step, **blobs))
tape.index.put_step(Step(seq=2, occurrence=2, source="live", kind="tool", **step, **blobs))
tape.index.close()
print(json.dumps("done"))
"""

COLUMNS = "run_id, seq, request_blob, response_blob, source, kind, status, stream, latency_ms, ts, path, timing"


def put(folder: Path, content: bytes) -> str:
    """The address of a content in the objects of a tape."""
    from hashlib import sha256

    address = sha256(content).hexdigest()[:32]
    place = folder / OBJECTS / address[:2]
    place.mkdir(parents=True, exist_ok=True)
    (place / address[2:]).write_bytes(zlib.compress(content))
    return address


def tape(folder: Path, *steps: dict[str, Any], script: str = "") -> Path:
    """A tape with these steps, as Timefork lays it out."""
    (folder / OBJECTS).mkdir(parents=True)
    usual = {"run_id": "r", "seq": 0, "source": "live", "kind": "llm", "status": 200, "stream": 1, "latency_ms": 30}
    usual |= {"ts": 100.5, "path": "/v1/chat/completions", "timing": "[[11, 20], [22, 30]]"}
    usual |= {"request_blob": put(folder, b'{"model":"m"}'), "response_blob": put(folder, STREAM)}
    with closing(sqlite3.connect(folder / INDEX)) as index:
        index.executescript(script or f"CREATE TABLE steps ({COLUMNS})")
        for step in steps if not script else ():
            row = usual | step
            names = COLUMNS.split(", ")
            marks = ", ".join("?" * len(names))
            index.execute("INSERT INTO steps VALUES (" + marks + ")", [row[name] for name in names])  # noqa: S608  marks only
        index.commit()
    return folder


def test_a_tape_of_the_real_timefork_comes_in(tmp_path: Path) -> None:
    """Bytes, chunks in ms, requests put together again; what is no live call of a model is counted."""
    folder = tmp_path / "tape"
    run("timefork", WRITE, folder, orjson.dumps(REQUEST).decode(), STREAM.decode())
    copy, done = imported(folder)
    (found,) = exchanges_of(copy)
    assert found.response.chunks().data() == [b"data: one\n\n", b"data: two\n\n"]
    assert found.response.timeline.chunks == (20_000_000, 30_000_000)
    assert orjson.loads(found.request.body) == REQUEST
    assert done.beats == {"chunks": 1}
    assert done.notes.skipped == {REPLAYED: 1, TOOL: 1}


def test_a_tape_is_a_folder_or_its_index(tmp_path: Path) -> None:
    """Both are recognised."""
    folder = tape(tmp_path / "tape", {}, {"seq": 1, "path": ""}, {"seq": 2, "timing": "", "stream": 0})
    for path in (folder, folder / INDEX):
        assert format_of(SourceFile(path)) is TIMEFORK
    copy, done = imported(folder)
    assert sorted(done.beats.items()) == [("chunks", 1), ("ends", 1)]
    assert done.notes.skipped == {NO_PATH: 1}
    assert {each.response.body for each in exchanges_of(copy)} == {STREAM}


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ({"request_blob": "../../../etc/passwd"}, "is not an address"),
        ({"request_blob": "0" * 32}, "cannot be read"),
        ({"request_blob": b"\xff"}, "'request_blob' is not text"),
        ({"status": 7}, "'status' is not a status"),
        ({"ts": float("inf")}, "'ts' is not a number"),
        ({"path": "/a b"}, "a blank or a control character"),
    ],
)
def test_what_breaks_the_format_is_refused(step: dict[str, Any], what: str, tmp_path: Path) -> None:
    """With the step."""
    with pytest.raises(UnreadableSource, match=what):
        imported(tape(tmp_path / "tape", step))


def test_contents_have_a_bound(tmp_path: Path) -> None:
    """A megabyte can stand for a gigabyte of zeros."""
    folder = tape(tmp_path / "tape", {})
    bomb = put(folder, bytes(70_000_000))
    with closing(sqlite3.connect(folder / INDEX)) as index:
        index.execute("UPDATE steps SET response_blob = ?", (bomb,))
        index.commit()
    with pytest.raises(UnreadableSource, match="is too long, or cut off"):
        imported(folder)


def test_an_index_runs_nothing(tmp_path: Path) -> None:
    """A view in the place of the table could count for ever; damage is a sentence."""
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS run_id FROM n"
    with pytest.raises(UnreadableSource, match="there is no table of steps"):
        imported(tape(tmp_path / "a", script=f"CREATE VIEW steps AS {endless}"))
    folder = tape(tmp_path / "b", {})
    (folder / INDEX).write_bytes((folder / INDEX).read_bytes()[:1000] + b"\xff" * 3000)
    with pytest.raises(UnreadableSource, match="its index cannot be read"):
        imported(folder)
