"""Tests of `segment_rotation`: when a segment ends, which ones stay, and what happens when the disk is nearly full."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import orjson
import pytest

from replayproxy.cassette import segments
from replayproxy.cassette.segments import SegmentNames
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.segment_rotation import NO_ROOM, SegmentedFiles, SegmentPolicy, SegmentRotation
from replayproxy.settings import RecordingSettings
from tests import recordings, wire
from tests.apps import recording, run, running
from tests.doubles import upstreams
from tests.doubles.fakes import SECOND, ManualClock
from tests.doubles.upstreams import Send, scripted


class Writer:
    """A writing thread that makes a cassette of one exchange of each segment."""

    def __init__(self) -> None:
        self.recorded = 0
        self.dropped: Counter[str] = Counter()

    async def rotate(self, path: Path) -> None:
        """Begin a segment."""
        recordings.record(path, recordings.chats(1))

    def drop(self, number: int, reason: str) -> None:
        """Count it."""
        self.dropped[reason] += 1


class Kept:
    """A rotation over a recording whose first segment is there."""

    def __init__(self, folder: Path, policy: SegmentPolicy, free: int = 100) -> None:
        self.clock, self.writer, self.free = ManualClock(), Writer(), free
        self.names = SegmentNames(folder / "a.cassette")
        recordings.record(self.names.base, recordings.chats(1))
        files = SegmentedFiles(self.names, [self.names.base])
        self.files = files.written
        self.rotation = SegmentRotation(
            self.writer, self.clock, files, policy, recordings.MATCHER, free=lambda _: self.free
        )

    def rotate(self, times: int) -> None:
        """So many times, a second apart."""

        async def rotated() -> None:
            for _ in range(times):
                self.clock.move(SECOND)
                await self.rotation.rotate()

        asyncio.run(rotated())

    def retained(self) -> list[int]:
        """The numbers of the segments that are still there, with their manifests."""
        self.rotation._retain()
        there = [number for number, path in enumerate(self.files) if path.exists()]
        described = [number for number, path in enumerate(self.files) if segments.manifest_of(path).exists()]
        assert described == [number for number in there if number != len(self.files) - 1]
        return there


@pytest.mark.parametrize(
    ("policy", "is_due"),
    [
        (SegmentPolicy(), False),
        (SegmentPolicy(age=10 * SECOND), True),
        (SegmentPolicy(age=11 * SECOND), False),
        (SegmentPolicy(size=1000), True),
        (SegmentPolicy(size=10**9), False),
        (SegmentPolicy(max_size=8000), True),
        (SegmentPolicy(size=10**9, max_size=8000), False),
    ],
    ids=str,
)
def test_when_a_segment_ends(tmp_path: Path, policy: SegmentPolicy, is_due: bool) -> None:
    """By its age, or its size, and never before it has an exchange."""
    kept = Kept(tmp_path, policy)
    kept.clock.move(10 * SECOND)
    assert not kept.rotation._is_due()
    kept.writer.recorded = 1
    assert kept.rotation._is_due() is is_due


def test_a_rotation_describes_the_old_segment(tmp_path: Path) -> None:
    """And gives both names."""
    kept = Kept(tmp_path, SegmentPolicy())
    old, new = asyncio.run(kept.rotation.rotate())
    assert [old, new] == [str(path) for path in kept.files]
    assert orjson.loads(segments.manifest_of(Path(old)).read_bytes())["exchanges"] == 1
    assert not segments.manifest_of(Path(new)).exists()


def test_keep_deletes_the_oldest_sealed_segments(tmp_path: Path) -> None:
    """The one that is written is not among the number."""
    kept = Kept(tmp_path, SegmentPolicy(keep=2))
    kept.rotate(4)
    assert kept.retained() == [2, 3, 4]
    assert kept.rotation.deleted == 2


def test_max_size_counts_all_segments(tmp_path: Path) -> None:
    """The one that is written too, which stays even where it alone is too large."""
    size = recordings.record(tmp_path / "measure.cassette", recordings.chats(1)).stat().st_size
    kept = Kept(tmp_path, SegmentPolicy(max_size=3 * size))
    kept.rotate(4)
    assert kept.retained() == [2, 3, 4]
    (tmp_path / "b").mkdir()
    tiny = Kept(tmp_path / "b", SegmentPolicy(max_size=1))
    tiny.rotate(2)
    assert tiny.retained() == [2]


def test_too_little_room_deletes_then_stops_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """What is not recorded meanwhile is counted, with its reason; /ready says why."""
    kept = Kept(tmp_path, SegmentPolicy(min_free=50))
    kept.rotate(2)
    assert (kept.retained(), kept.rotation.admits(), kept.rotation.trouble) == ([0, 1, 2], True, None)
    kept.free = 49
    assert kept.retained() == [2]
    assert not kept.rotation.admits()
    assert kept.writer.dropped == {NO_ROOM: 1}
    assert "less than --min-free" in str(kept.rotation.trouble)
    kept.free = 50
    kept.retained()
    assert (kept.rotation.admits(), kept.rotation.trouble) == (True, None)


def test_what_is_not_ours_is_never_deleted(tmp_path: Path) -> None:
    """Nor a segment without a manifest: another recorder may be writing it."""
    kept = Kept(tmp_path, SegmentPolicy(keep=0))
    other = recordings.record(tmp_path / "other.cassette", recordings.chats(1))
    unsealed = recordings.record(kept.names.at(0), recordings.chats(1))
    kept.rotate(2)
    assert kept.retained() == [2]
    assert other.exists()
    assert unsealed.exists()


def test_segments_that_a_killed_recorder_has_left_are_sealed_and_described(tmp_path: Path) -> None:
    """Unless another recorder still writes them."""
    kept = Kept(tmp_path, SegmentPolicy(keep=9))
    killed, busy = kept.names.at(SECOND), kept.names.at(2 * SECOND)
    writer = CassetteWriter(killed, recordings.MATCHER)
    recordings.keep(writer, recordings.pieces(recordings.chats(1)[0], 1))
    writer.close()
    running_writer = CassetteWriter(busy, recordings.MATCHER)
    kept.rotation._adopt()
    running_writer.close()
    assert segments.sealed(kept.names.existing()) == [killed]
    assert orjson.loads(segments.manifest_of(killed).read_bytes())["exchanges"] == 1


def test_a_run_leaves_a_manifest_for_each_segment(tmp_path: Path) -> None:
    """With a live recorder: seen is recorded; a last segment without exchanges is not kept."""
    base = tmp_path / "a.cassette"
    settings = RecordingSettings(keep=9, replica="r1")

    async def record() -> None:
        answer = Send(upstreams.answer("200 OK", recordings.whole_answer("hi")))
        async with scripted(answer, again=True) as server:
            async with running(recording(base, server.url, recording=settings)) as proxy:
                for _ in range(2):
                    await wire.ask(proxy.url, recordings.asked("hello"))
                    await proxy.app.control.rotate()

    run(record())
    manifests = [orjson.loads(path.read_bytes()) for path in sorted(tmp_path.glob("*.json"))]
    assert [(one["exchanges"], one["replica"]) for one in manifests] == [(1, "r1"), (1, "r1")]
    assert len(list(tmp_path.glob("*.cassette"))) == 2
    # The next run is another segment: the first one would be the oldest and the newest.
    run(record())
    assert len(list(tmp_path.glob("a-r1-*.cassette"))) == 3
    assert len(recordings.read(base)) == 1
