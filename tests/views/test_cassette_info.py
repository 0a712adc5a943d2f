"""Tests of `views/cassette_info`: a cassette as data; its page is tested in tests/cli/terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

import replayproxy
from replayproxy.cassette import browse
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.model import Chunk, Ending, Head
from replayproxy.views.cassette_info import as_data, creator, flat, iso_time
from tests.cli.tapes import DAY, JSON, MS, STREAM, asked, chat, delta, piece, writing


def test_a_cassette_as_data(tmp_path: Path) -> None:
    """Counts, times in UTC, bytes that add up to the file; no salt."""
    path = tmp_path / "two.cassette"
    with writing(path) as keep:
        keep(chat("a"), chat("b", started=1500))
    with CassetteBrowser.open(path) as browser:
        summary = browser.summary()
    data = as_data(summary)
    assert (data["exchanges"], data["endings"], data["sealed"]) == (2, {"complete": 2}, True)
    assert (data["first_recorded_at"], data["last_recorded_at"]) == (
        "2026-11-18T11:06:40.000Z",
        "2026-11-18T11:06:41.500Z",
    )
    sizes = dict(data["bytes"])
    bodies = sizes.pop("request_bodies") + sizes.pop("response_bodies")
    assert sizes.pop("file") == sum(sizes.values()) == path.stat().st_size
    assert bodies > 0
    assert data["redaction"] == {"rules": []}
    assert creator(summary) == data["creator"] == f"replayproxy {replayproxy.__version__}"


@pytest.mark.parametrize(
    ("streams", "size", "checked", "missing"),
    [(10, 10**6, 3, 1), (2, 10**6, 2, 1), (1, 10**6, 1, 0), (10, 1, 0, 0)],
    ids=["all", "the two newest", "the newest", "too long"],
)
def test_the_newest_streams_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: int, size: int, checked: int, missing: int
) -> None:
    """So many, and so many bytes of them; what broke, failed or is no stream has no end to miss."""
    monkeypatch.setattr(browse, "MOST_STREAMS", streams)
    monkeypatch.setattr(browse, "MOST_STREAM_BYTES", size)
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("oldest"))
        keep(piece(asked("no end"), Head(MS, 200, STREAM), [Chunk(MS, delta("a"))], MS))
        keep(chat("newest"), chat("cut", ending=Ending.UPSTREAM_CUT))
        keep(piece(asked("error"), Head(MS, 400, JSON), [Chunk(MS, b"{}")], MS))
    with CassetteBrowser.open(path) as browser:
        ends = browser.summary().stream_ends
    assert (ends.streams, ends.checked, ends.missing) == (3, checked, {"[DONE]": missing} if missing else {})


def test_names_of_nested_values_are_joined() -> None:
    """For CSV: mappings by name, lists by index."""
    data = {"a": 1, "b": {"c": [2, {"d": None}], "e": {}}, "f": []}
    assert list(flat(data)) == [
        {"name": "a", "value": 1},
        {"name": "b.c.0", "value": 2},
        {"name": "b.c.1.d", "value": None},
    ]


def test_times_are_utc() -> None:
    """To the millisecond; without a time there is none."""
    assert (iso_time(None), iso_time(DAY)) == (None, "2026-11-18T11:06:40.000Z")
