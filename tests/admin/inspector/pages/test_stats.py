"""The statistics: the figures of `stats`, and a histogram of each measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.admin.inspector import sample
from replayproxy.admin.inspector.pages.stats import MEASURES
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.views import statistics
from replayproxy.views.port import ExchangeFilter
from tests.admin.inspector.visits import Visit, visiting


@pytest.mark.parametrize("by", [name for name in statistics.GROUPINGS if name != "cassette"])
def test_the_figures_are_those_of_the_verb(traffic: Path, by: str) -> None:
    """Row for row, in each grouping that the verb has."""
    with CassetteBrowser.open(traffic) as browser:
        expected = list(statistics.data_rows(statistics.gather([browser], ExchangeFilter(), by)))

    async def dialogue(visit: Visit) -> None:
        data = (await visit(f"/stats.json?by={by}")).json
        assert (data["by"], data["rows"]) == (by, expected)

    visiting(dialogue, traffic)


def test_each_measure_has_a_histogram(traffic: Path) -> None:
    """With its definition; those of a pair only where there is one."""

    async def dialogue(visit: Visit) -> None:
        page = (await visit("/stats")).text
        for title, _ in MEASURES.values():
            assert f"Histogram of {title}" in page
        assert "a chunk is not a token" in page
        plain = (await visit("/stats?model=embed")).text
        assert "Histogram of Prefill" not in plain
        assert "can be measured" in (await visit("/stats?model=none")).text

    visiting(dialogue, traffic)


def test_of_many_exchanges_a_sample_is_read_unless_all_are_wanted(
    traffic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a link to all."""
    monkeypatch.setattr(sample, "MOST", 25)

    async def dialogue(visit: Visit) -> None:
        sampled, whole = (await visit("/stats.json?by=none")).json, (await visit("/stats.json?by=none&exact=1")).json
        counts = [[row["n"] for row in data["rows"] if row["measure"] == "exchanges"] for data in (sampled, whole)]
        assert counts == [[24], [120]]
        assert (sampled["each"], whole["each"]) == (5, 1)
        assert "exact=1" in (await visit("/stats")).text

    visiting(dialogue, traffic)
