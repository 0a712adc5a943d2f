"""Histograms and cumulative shares."""

from __future__ import annotations

from replayproxy.views.charts.distribution import BINS, STEPS, cumulative, histogram
from tests.views.charts.charts import marks, titles


def counted(chart_titles: list[str]) -> int:
    """The answers in all bars."""
    return sum(int(title.partition(" ")[0]) for title in chart_titles if " from " in title)


def test_every_value_is_in_a_bar() -> None:
    """As often as it occurs; lines stand at p50, p90, p99."""
    chart = histogram("TTFT", [(0.01 * n, 2) for n in range(1, 101)])
    assert counted(titles(chart)) == 200
    assert len(marks(chart, "rect", "a")) <= BINS
    assert [title for title in titles(chart) if title[0] == "p"] == ["p50 500 ms", "p90 900 ms", "p99 990 ms"]


def test_a_long_tail_has_a_logarithmic_axis() -> None:
    """Else all bars but one would be empty."""
    chart = histogram("TTFT", [(0.01, 100), (0.02, 50), (10.0, 1)])
    assert len(marks(chart, "rect", "a")) == 3
    assert marks(chart, "text")[-1].text == "10.0 s"


def test_single_and_equal_values() -> None:
    """One bar, and no percentile of one value."""
    assert counted(titles(histogram("x", [(0.0, 1)]))) == 1
    assert counted(titles(histogram("x", [(5.0, 3)]))) == 3
    assert marks(histogram("x", []), "rect") == []


def test_negative_values_have_room() -> None:
    """A hand-over may begin before the prefill ends."""
    assert counted(titles(histogram("hand-over", [(-0.5, 1), (0.5, 1)]))) == 2


def test_two_series_are_two_lines() -> None:
    """From the same axis, each from nothing to all of its values."""
    lines = marks(cumulative("TTFT", {"monday": [1, 2, 3], "tuesday": [2, 4]}), "polyline")
    assert [line.get("class") for line in lines] == ["line a", "line b"]
    points = str(lines[0].get("points")).split(" ")
    assert len(points) == STEPS + 1
    assert (points[0], points[-1].partition(",")[2]) == ("0.00,100.00", "0.00")
