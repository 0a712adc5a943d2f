"""Latency and requests over time, of few and of many exchanges."""

from __future__ import annotations

from replayproxy.views.charts import over_time
from replayproxy.views.charts.over_time import COLUMNS, MOST_POINTS, ROWS, Point, latency, rates
from tests.views.charts.charts import marks, titles


def points(count: int) -> list[Point]:
    """A second apart; each tenth is an error."""
    return [Point(1e9 + n, 0.01 * (1 + n % 50), f"<exchange {n}>", f"/e/{n}", n % 10 == 0) for n in range(count)]


def span(since: float, until: float) -> str:
    """A link to a list."""
    return f"/list?since={since:.0f}&until={until:.0f}"


def test_each_of_few_exchanges_is_a_point_with_a_link() -> None:
    """It leads to the exchange, and is called as one would say it."""
    chart = latency("latency", points(30), span)
    assert len(marks(chart, "circle", "a")) == 27
    assert len(marks(chart, "circle", "error")) == 3
    assert {link.get("href") for link in marks(chart, "a")} == {f"/e/{n}" for n in range(30)}
    assert "<exchange 7>" in titles(chart)


def test_many_exchanges_are_cells() -> None:
    """A page stays small whatever it shows; cells lead to what lies in their time."""
    chart = latency("latency", points(20 * MOST_POINTS), span)
    assert marks(chart, "circle") == []
    cells = marks(chart, "rect")
    assert 100 < len(cells) <= COLUMNS * ROWS
    assert marks(chart, "a")[0].get("href", "").startswith("/list?since=1000000000&until=")
    assert len(str(chart)) < 1_000_000


def test_requests_are_counted_by_time() -> None:
    """All of them, and each stands for so many where they are a sample."""
    for each in (1, 7):
        bars = [title for title in titles(rates("rates", points(600), span, each=each)) if " in " in title]
        assert len(bars) == over_time.BINS
        total = sum(int(title.partition(" ")[0].replace("\u2009", "")) for title in bars)
        assert total == 600 * each
    assert "1 error" in titles(rates("rates", points(60), span))[1]


def test_nothing_and_one_have_a_chart_too() -> None:
    """An empty cassette, and a single exchange."""
    for count in (0, 1):
        assert len(marks(latency("latency", points(count), span), "circle")) == count
        assert marks(rates("rates", points(count), span), "svg")
