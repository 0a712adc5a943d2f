"""Tests of `cassette/segments`: names, manifests, and which files belong to a recording."""

from __future__ import annotations

from pathlib import Path

from replayproxy import __version__
from replayproxy.cassette import segments
from replayproxy.cassette.file_digest import file_digest
from replayproxy.cassette.segments import SegmentNames
from tests import recordings

AT = 1_795_823_308_041_000_000
"""2026-11-27 23:48:28.041 UTC, in ns."""


def test_a_segment_is_named_after_its_recording_its_replica_and_the_time(tmp_path: Path) -> None:
    """In an order that is that of time."""
    base = tmp_path / "traffic.cassette"
    assert SegmentNames(base).at(AT).name == "traffic-20261127T234828.041Z.cassette"
    assert SegmentNames(base, "pod-7").at(AT).name == "traffic-pod-7-20261127T234828.041Z.cassette"


def test_existing_segments_are_those_of_this_recording_and_replica(tmp_path: Path) -> None:
    """The first one is the oldest; another replica's and somebody's own file are not ours."""
    names = SegmentNames(tmp_path / "a.cassette", "r1")
    mine = [names.base, names.at(AT), names.at(AT + 10**9)]
    for path in (*mine[::-1], SegmentNames(names.base).at(AT), SegmentNames(names.base, "r2").at(AT)):
        path.touch()
    for name in ("a-r1.cassette", "a-r1-mine.cassette", "b-r1-20261127T234828.041Z.cassette", "a.json"):
        (tmp_path / name).touch()
    assert names.existing() == mine


def test_a_manifest_says_what_is_in_a_segment(tmp_path: Path) -> None:
    """Whoever collects segments needs to open none of them."""
    path = recordings.record(tmp_path / "a.cassette", recordings.chats(3))
    found = segments.describe(path, SegmentNames(path, "r1"))
    times = sorted(exchange.recorded_at for exchange in recordings.read(path))
    assert found == {
        "cassette": "a.cassette",
        "sha256": file_digest(path),
        "bytes": path.stat().st_size,
        "exchanges": 3,
        "first_recorded_at": times[0],
        "last_recorded_at": times[-1],
        "request_bytes": sum(len(exchange.request.body) for exchange in recordings.read(path)),
        "response_bytes": sum(len(exchange.response.body) for exchange in recordings.read(path)),
        "dropped": {},
        "recording": "a",
        "replica": "r1",
        "version": __version__,
    }


def test_dropped_exchanges_are_in_the_manifest(tmp_path: Path) -> None:
    """Seen is recorded and dropped."""
    path = recordings.record(tmp_path / "a.cassette", [])
    for count in (2, 3):
        recordings.execute("INSERT INTO dropped VALUES (1, 'queue full', ?)", count)(path)
    assert segments.describe(path, SegmentNames(path))["dropped"] == {"queue full": 5}


def test_a_segment_is_sealed_when_its_manifest_is_there_and_goes_with_it(tmp_path: Path) -> None:
    """Sizes count logs; a file that is gone counts as nothing."""
    one, two = tmp_path / "1.cassette", tmp_path / "2.cassette"
    one.write_bytes(b"123")
    (tmp_path / "1.cassette-wal").write_bytes(b"45")
    segments.manifest_of(one).write_text("{}")
    assert segments.sealed([one, two]) == [one]
    assert segments.sizes([one, two]) == 5
    segments.delete(one)
    segments.delete(two)
    assert [path.name for path in tmp_path.iterdir()] == ["1.cassette-wal"]
