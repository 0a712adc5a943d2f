"""A bounded choice of exchanges."""

from __future__ import annotations

from pathlib import Path

from replayproxy.admin.inspector.sample import Sample
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.views.port import ExchangeFilter
from tests.recordings import record


def test_few_are_all(traffic: Path) -> None:
    """And each stands for itself."""
    with CassetteBrowser.open(traffic) as browser:
        assert Sample.of(browser, ExchangeFilter()) == Sample(ExchangeFilter(), 1, 120)


def test_of_many_every_nth_is_there(traffic: Path) -> None:
    """From the first to the last, and each stands for the same number."""
    with CassetteBrowser.open(traffic) as browser:
        sample = Sample.of(browser, ExchangeFilter(), most=25)
        numbers = [row["number"] for row in browser.rows(sample.chosen)]
        assert (sample.each, sample.count) == (5, 120)
        assert numbers == list(range(5, 121, 5))
        filtered = Sample.of(browser, ExchangeFilter(model="embed"), most=25)
        assert all(row["model"] == "embed" for row in browser.rows(filtered.chosen))


def test_an_empty_cassette_has_an_empty_sample(tmp_path: Path) -> None:
    """And no division by nothing."""
    with CassetteBrowser.open(record(tmp_path / "a.cassette", [])) as browser:
        assert Sample.of(browser, ExchangeFilter(), most=0).count == 0
