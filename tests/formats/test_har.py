"""HTTP Archive: valid by its schema, read back byte by byte, and archives of browsers with what they leave out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.formats.har import CODING_UNDONE, HAR
from replayproxy.formats.source import UnreadableSource
from replayproxy.model import Ending
from tests.docs.pages import ROOT
from tests.formats.files import every_kind, exchanges_of, export_of, exported, imported, meta_of

GOLDEN = ROOT / "cassettes" / "format-2.cassette"

VALIDATE = """
require("har-validator").har(JSON.parse(require("fs").readFileSync(0)))
  .catch(error => { console.log(JSON.stringify(error.errors)); process.exit(1) })
"""


@pytest.mark.parametrize("kind", ["golden", "every"])
def test_an_archive_is_valid(kind: str, tmp_path: Path) -> None:
    """By the schema of har-validator, if it is installed (`peers`)."""
    modules = str(Path(os.environ.get("FORMAT_PEERS", "")) / "node_modules")
    node = shutil.which("node")
    if node is None or not (Path(modules) / "har-validator").is_dir():
        pytest.skip("needs node, and FORMAT_PEERS=FOLDER where `npm install har-validator@5.1.5` has run")
    archive = exported(GOLDEN if kind == "golden" else every_kind(tmp_path), HAR)
    ran = subprocess.run(
        [node, "-e", VALIDATE],
        input=archive,
        capture_output=True,
        env={**os.environ, "NODE_PATH": modules},
        check=False,
    )
    assert (ran.stdout, ran.returncode) == (b"", 0)


def test_every_entry_has_what_the_standard_demands(tmp_path: Path) -> None:
    """Each member that HAR 1.2 does not call optional; times add up."""
    for entry in orjson.loads(exported(every_kind(tmp_path), HAR))["log"]["entries"]:
        assert {"startedDateTime", "time", "request", "response", "cache", "timings"} <= entry.keys()
        for part, names in {
            "request": {"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"},
            "response": {"status", "statusText", "content", "redirectURL", "headersSize", "bodySize", "cookies"},
        }.items():
            assert names <= entry[part].keys()
        timings = entry["timings"]
        assert entry["time"] == pytest.approx(sum(each for each in timings.values() if each > 0))


def test_our_archive_comes_back_byte_by_byte(tmp_path: Path) -> None:
    """Status, body, chunks with their times in microseconds, endings; wall time in microseconds."""
    copy, done = imported(tmp_path / "a.har", exported(GOLDEN, HAR))
    before, after = exchanges_of(GOLDEN), exchanges_of(copy)
    assert done.beats == {"chunks": len(before)}
    for old, new in zip(before, after, strict=True):
        assert (new.request.method, new.request.target) == (old.request.method, old.request.target)
        assert new.request.body == old.request.body
        assert (new.response.status, new.response.body) == (old.response.status, old.response.body)
        assert new.response.cuts == old.response.cuts
        assert new.response.timeline.chunks == old.response.timeline.chunks
        assert new.response.ending == old.response.ending
        assert new.recorded_at == old.recorded_at // 1000 * 1000
    assert meta_of(copy)["imported"]["lost"] == ["session", "token ids"]


def test_events_are_written_for_those_who_read_them() -> None:
    """`_eventSourceMessages` with the time, the name and the data of each event."""
    entries = orjson.loads(exported(GOLDEN, HAR))["log"]["entries"]
    streamed = [entry for entry in entries if "_eventSourceMessages" in entry]
    assert len(streamed) > 10
    for entry in streamed:
        events = entry["_eventSourceMessages"]
        assert all(set(event) == {"time", "eventName", "eventId", "data"} for event in events)
        assert [event["time"] for event in events] == sorted(event["time"] for event in events)


def test_a_coding_that_was_undone_is_counted(tmp_path: Path) -> None:
    """The archive has the text, and says that the coded bytes are lost."""
    _, done = export_of(every_kind(tmp_path), HAR)
    assert done.notes.left_out[CODING_UNDONE] >= 0


def archive(*entries: dict[str, Any]) -> str:
    """An archive as a browser saves it."""
    return json.dumps({"log": {"version": "1.2", "creator": {"name": "WebInspector"}, "entries": list(entries)}})


def entry(**changes: Any) -> dict[str, Any]:
    """An entry as a browser saves it: HTTP/2, a decoded body, the fields of a coded one."""
    value: dict[str, Any] = {
        "startedDateTime": "2026-11-18T09:14:03.118Z",
        "time": 130,
        "request": {
            "method": "POST",
            "url": "https://api.example.com/v1/chat/completions?x=1",
            "headers": [{"name": ":authority", "value": "api.example.com"}, {"name": "accept", "value": "*/*"}],
            "postData": {"mimeType": "application/json", "text": '{"model":"m",  "stream":true}'},
        },
        "response": {
            "status": 200,
            "headers": [
                {"name": "content-type", "value": "text/event-stream"},
                {"name": "content-encoding", "value": "br"},
                {"name": "set-cookie", "value": "session=abc"},
            ],
            "content": {"size": 30, "mimeType": "text/event-stream", "text": "data: {}\n\ndata: [DONE]\n\n"},
        },
        "timings": {"blocked": 2, "send": 1, "wait": 99, "receive": 30},
    }
    return value | changes


def test_an_archive_of_a_browser_is_read(tmp_path: Path) -> None:
    """The body as the browser had it, without the coding; the times of its beginning and its end."""
    copy, done = imported(tmp_path / "a.har", archive(entry()))
    (found,) = exchanges_of(copy)
    assert found.request.target == "/v1/chat/completions?x=1"
    assert found.request.body == b'{"model":"m",  "stream":true}'
    assert found.response.headers == (("content-type", "text/event-stream"),)
    assert found.response.body == b"data: {}\n\ndata: [DONE]\n\n"
    assert (found.response.timeline.head, found.response.timeline.end) == (100_000_000, 130_000_000)
    assert done.beats == {"ends": 1}
    assert meta_of(copy)["imported"]["beat"] == {"ends": 1}
    assert meta_of(copy)["left_out"] == {"set-cookie": 1}


def test_events_of_a_browser_have_their_times(tmp_path: Path) -> None:
    """Where the body was not saved, the events are written again as vLLM writes them."""
    events = [
        {"time": 1795000443.218, "eventName": "message", "data": "one"},
        {"time": 1795000443.318, "eventName": "end", "data": "two\nlines"},
    ]
    value = entry(_eventSourceMessages=events, startedDateTime="2026-11-18T11:14:03.118Z")
    value["response"]["content"] = {"size": 0, "mimeType": "text/event-stream"}
    copy, done = imported(tmp_path / "a.har", archive(value))
    (found,) = exchanges_of(copy)
    assert found.response.chunks().data() == [b"data: one\n\n", b"event: end\ndata: two\ndata: lines\n\n"]
    gaps = list(found.response.timeline.gaps())
    assert done.beats == {"events": 1}
    assert gaps == [pytest.approx(100_000_000, rel=1e-3)]


def test_what_is_not_a_recording_is_counted(tmp_path: Path) -> None:
    """Blocked requests, WebSockets, bodies that were not saved."""
    unsaved = entry()
    unsaved["response"] = {**unsaved["response"], "content": {"size": 9, "mimeType": "text/plain"}}
    blocked = entry(response={"status": 0, "headers": [], "content": {}})
    socket = entry(_webSocketMessages=[])
    _, done = imported(tmp_path / "a.har", archive(entry(), unsaved, blocked, socket))
    assert done.exchanges == 1
    assert sorted(done.notes.skipped.values()) == [1, 1, 1]


def test_an_archive_without_a_recording_makes_no_cassette(tmp_path: Path) -> None:
    """And says why."""
    with pytest.raises(UnreadableSource, match=r"there is no exchange in .*a\.har: a WebSocket \(1\)"):
        imported(tmp_path / "a.har", archive(entry(_webSocketMessages=[])))
    assert not (tmp_path / "a.har.cassette").exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"log":{"entries":[7]}}', "entry 1: it is not an object"),
        ('{"log":{"entries":{}}}', "there is no log with entries"),
        ('{"log":{"entries":[', "it is not JSON"),
        (archive(entry(startedDateTime="yesterday")), "entry 1: Invalid isoformat"),
        (archive(entry(request={"method": "POST", "url": "mailto:x"})), "neither a URL nor a path"),
        (archive(entry(_chunks=[[1, 2]])), "'_chunks' cover 2 of 24 bytes"),
    ],
)
def test_what_breaks_the_format_is_refused(content: str, what: str, tmp_path: Path) -> None:
    """With the entry and the reason."""
    with pytest.raises(UnreadableSource, match=what):
        imported(tmp_path / "a.har", content, format_name="har")


def test_a_broken_stream_stays_broken(tmp_path: Path) -> None:
    """The ending is written with the entry."""
    value = entry(_ending="upstream_cut")
    (found,) = exchanges_of(imported(tmp_path / "a.har", archive(value))[0])
    assert found.response.ending is Ending.UPSTREAM_CUT
