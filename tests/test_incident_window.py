"""Tests of `incident_window`: the ring is bounded; the cassette of an incident has what was before and what follows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from replayproxy.cassette import segments
from replayproxy.core.incidents import IncidentCondition
from replayproxy.errors import SettingsError
from replayproxy.incident_window import IncidentWindow, WindowOptions, incidents_of, ring_of, ring_policy
from replayproxy.proxy.aside import InThread
from replayproxy.segment_rotation import SegmentPolicy
from replayproxy.settings import RecordingSettings
from tests import recordings, wire
from tests.apps import recording, run, running
from tests.doubles import upstreams
from tests.doubles.fakes import SECOND, ManualClock
from tests.doubles.upstreams import Send, scripted


class Closable(InThread):
    """A worker that runs in a thread."""

    def close(self) -> None:
        """Nothing is open."""


class Ring:
    """A window of 60 s over a ring of which each segment has one exchange and begins a second after the last one."""

    def __init__(self, folder: Path, *, size: int = 10**9, keep: int | None = None) -> None:
        self.clock = ManualClock()
        base = folder / "a.cassette"
        self.names, self.incidents = ring_of(base, ""), incidents_of(base, "")
        self.names.base.parent.mkdir()
        self.window = IncidentWindow(
            base,
            "",
            WindowOptions(60 * SECOND, 10 * SECOND, size),
            SegmentPolicy(keep=keep),
            clock=self.clock,
            worker=Closable(),
        )

    def record(self, count: int, *, seconds: int = 1) -> None:
        """So many sealed segments, one per second, and the one that is written."""
        for number in range(count):
            path = recordings.record(self.names.at(self.clock.today()), recordings.chats(1, number))
            segments.manifest_of(path).write_text("{}")
            self.clock.move(seconds * SECOND)
        recordings.record(self.names.at(self.clock.today()), [])

    @property
    def there(self) -> int:
        """Segments of the ring."""
        return len(self.names.existing())


def test_what_ends_before_the_window_is_deleted(tmp_path: Path) -> None:
    """A segment of which the last second is within the window stays."""
    ring = Ring(tmp_path)
    ring.record(8, seconds=10)
    ring.window._trim()
    assert ring.there == 7  # that of 60 to 70 s ago reaches into it
    ring.clock.move(1000 * SECOND)
    ring.window._trim()
    assert ring.there == 1


def test_the_ring_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Also while an incident is pending."""
    size = recordings.record(tmp_path / "measure.cassette", recordings.chats(1)).stat().st_size
    ring = Ring(tmp_path, size=5 * size)
    ring.record(8)
    ring.window.keep("x")
    ring.window._trim()
    assert segments.sizes(ring.names.existing()) <= 5 * size
    assert ring.there >= 4


def test_an_incident_makes_a_cassette_with_its_reasons(tmp_path: Path) -> None:
    """Those that follow before it is made are in the same one; the ring goes on."""
    ring = Ring(tmp_path)
    ring.record(3)
    path = ring.window.keep("status>=500: 503")
    ring.clock.move(9 * SECOND)
    assert ring.window.keep("cut") == path
    assert ring.window.seconds_left == 1
    asyncio.run(ring.window._seal())
    assert len(recordings.read(path)) == 3
    manifest = orjson.loads(segments.manifest_of(path).read_bytes())
    assert (manifest["incidents"], [one["why"] for one in manifest["reasons"]]) == (2, ["status>=500: 503", "cut"])
    assert (ring.there, ring.window.seconds_left) == (4, 0)
    assert ring.window.kept == [path]


def test_only_so_many_incidents_are_kept(tmp_path: Path) -> None:
    """The newest."""
    ring = Ring(tmp_path, keep=2)
    ring.record(1)
    paths = []
    for _ in range(4):
        paths.append(ring.window.keep("x"))
        asyncio.run(ring.window._seal())
        ring.clock.move(SECOND)
    assert [path.exists() for path in paths] == [False, False, True, True]


def test_the_end_of_a_run_seals_a_pending_incident_and_removes_the_ring(tmp_path: Path) -> None:
    """Nothing else is left."""
    ring = Ring(tmp_path)
    ring.record(2)
    path = ring.window.keep("SIGUSR1")
    asyncio.run(ring.window.finish())
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, segments.manifest_of(path).name]
    assert len(recordings.read(path)) == 2


def test_an_incident_without_exchanges_makes_no_cassette(tmp_path: Path) -> None:
    """There is nothing to keep."""
    ring = Ring(tmp_path)
    recordings.record(ring.names.at(ring.clock.today()), [])
    ring.window.keep("x")
    asyncio.run(ring.window.finish())
    assert list(tmp_path.iterdir()) == []


def test_segments_of_the_ring_are_a_part_of_the_window() -> None:
    """Of its time and of its size."""
    assert ring_policy(WindowOptions(300 * SECOND, 0, 1000)) == SegmentPolicy(age=30 * SECOND, size=100)


def test_a_live_recorder_keeps_incidents_alone(tmp_path: Path) -> None:
    """An answer that meets a condition, and everything before it; a run without an incident leaves nothing."""
    base = tmp_path / "a.cassette"
    conditions = (IncidentCondition.parse("status>=500"),)
    settings = RecordingSettings(window=60.0, keep_on=conditions, keep_after=0.0)

    async def record(status: str) -> list[Path]:
        answer = Send(upstreams.answer(status, recordings.whole_answer("hi")))
        async with scripted(answer, again=True) as server:
            async with running(recording(base, server.url, recording=settings), admin=True) as proxy:
                await wire.ask(proxy.url, recordings.asked("hello"))
            return proxy.app.control.incident_files

    assert run(record("200 OK")) == []
    assert list(tmp_path.iterdir()) == []
    (path,) = run(record("503 Service Unavailable"))
    assert [exchange.response.status for exchange in recordings.read(path)] == [503]
    (reason,) = orjson.loads(segments.manifest_of(path).read_bytes())["reasons"]
    assert reason["why"] == "status>=500: 503 at /v1/chat/completions"


def test_the_admin_port_keeps_the_window(tmp_path: Path) -> None:
    """POST /keep says which cassette it will be, and when it is there; without a window there is no such path."""
    base = tmp_path / "a.cassette"

    async def keep(settings: RecordingSettings) -> tuple[int, dict[str, object]]:
        answer = Send(upstreams.answer("200 OK", recordings.whole_answer("hi")))
        async with scripted(answer, again=True) as server:
            async with running(recording(base, server.url, recording=settings), admin=True) as proxy:
                await wire.ask(proxy.url, recordings.asked("hello"))
                got = await wire.ask(str(proxy.admin_url), wire.post("/keep?reason=look", {}))
                return got.status, orjson.loads(got.body)

    status, document = run(keep(RecordingSettings(window=60.0)))
    path = Path(str(document["cassette"]))
    assert (status, path.exists(), 29 < float(str(document["complete_in_s"])) <= 30) == (202, True, True)
    assert run(keep(RecordingSettings()))[0] in (404, 405)


def test_settings_that_do_not_fit_are_refused() -> None:
    """A condition without a window would do nothing; a window that is also rotated would keep everything."""
    with pytest.raises(SettingsError, match="--keep-on needs a window: give --window 5m too"):
        RecordingSettings(keep_on=(IncidentCondition.parse("cut"),))
    with pytest.raises(SettingsError, match="leave --rotate away"):
        RecordingSettings(window=60.0, rotate=("age", 1.0))
    with pytest.raises(SettingsError, match="more than 0 s"):
        RecordingSettings(window=0.0)
