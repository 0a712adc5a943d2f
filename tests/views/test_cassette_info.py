"""Tests of `views/cassette_info`: a cassette as data; its page is tested in tests/cli/terminal."""

from __future__ import annotations

from pathlib import Path

import replayproxy
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.views.cassette_info import as_data, creator, flat, iso_time
from tests.cli.tapes import DAY, chat, writing


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
