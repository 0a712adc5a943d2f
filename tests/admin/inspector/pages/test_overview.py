"""The overview: counts, charts, the slowest, and of many exchanges a sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.admin.inspector import sample
from tests.admin.inspector.visits import Visit, visiting
from tests.cli.commands import tape
from tests.recordings import record


def test_it_counts_and_measures(traffic: Path) -> None:
    """What is on the cassette; percentiles are of answers without an error."""

    async def dialogue(visit: Visit) -> None:
        data = (await visit("/overview.json")).json
        assert (data["cassette"], data["exchanges"], data["read"], data["each"]) == ("traffic.cassette", 120, 120, 1)
        assert sum(data["models"].values()) == sum(data["statuses"].values()) == 120
        assert (
            data["errors"]
            == sum(times for code, times in data["statuses"].items() if int(code) >= 400)
            + (data["endings"]["upstream_cut"])
        )
        assert data["ttft_s"]["p50"] <= data["ttft_s"]["p99"] <= data["total_s"]["max"]
        totals = [row["total_s"] for row in data["slowest"]]
        assert totals == sorted(totals, reverse=True)
        assert totals[0] == data["total_s"]["max"]

    visiting(dialogue, traffic)


def test_filters_narrow_it(traffic: Path) -> None:
    """And stay in its links."""

    async def dialogue(visit: Visit) -> None:
        data = (await visit("/overview.json?model=embed")).json
        assert data["models"] == {"embed": data["read"]}
        page = (await visit("/?model=embed&ending=complete")).text
        assert "model=embed&amp;ending=complete" in page
        assert "meets these filters" in (await visit("/?model=none")).text

    visiting(dialogue, traffic)


def test_of_many_exchanges_a_sample_is_read(traffic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the page says of which."""
    monkeypatch.setattr(sample, "MOST", 25)

    async def dialogue(visit: Visit) -> None:
        data = (await visit("/overview.json")).json
        assert (data["exchanges"], data["read"], data["each"]) == (120, 24, 5)
        assert "Every 5th exchange was read" in (await visit("/")).text

    visiting(dialogue, traffic)


def test_all_cassettes_are_listed(traffic: Path, tmp_path: Path) -> None:
    """With what is wrong with those that cannot be read."""
    damaged = tmp_path / "broken.cassette"
    damaged.write_bytes(tape(tmp_path / "b.cassette", "x").read_bytes()[:5000])
    empty = record(tmp_path / "empty.cassette", [])

    async def dialogue(visit: Visit) -> None:
        listed = (await visit("/overview.json")).json["cassettes"]
        assert [(one["name"], one["exchanges"]) for one in listed] == [
            ("traffic.cassette", 120),
            ("broken.cassette", None),
            ("empty.cassette", 0),
        ]
        assert "broken.cassette" in listed[1]["error"]
        assert "has been recorded yet" in (await visit("/?cassette=empty.cassette")).text

    visiting(dialogue, traffic, damaged, empty)
