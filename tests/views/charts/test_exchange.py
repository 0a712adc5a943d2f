"""One exchange over time: its chunks, and the legs of a pair."""

from __future__ import annotations

from replayproxy.views.charts.exchange import BINS, MOST_TICKS, ChunkTick, Lane, chunk_timeline, waterfall
from tests.views.charts.charts import marks, titles

MS = 1_000_000


def test_each_chunk_is_a_line_that_says_what_it_is() -> None:
    """When, how long after the one before, how many bytes, which text; a late one is marked."""
    times = [100, 120, 140, 160, 400]
    ticks = [ChunkTick(at * MS, 10, f"<w{at}>") for at in times]
    chart = chunk_timeline(ticks, 410 * MS, content=100 * MS)
    assert len(marks(chart, "g", "tick")) == 4
    assert len(marks(chart, "g", "tick late")) == 1
    assert "chunk 2 at 120 ms, 20.0 ms after the one before it, 10 B: <w120>" in titles(chart)
    waiting = marks(chart, "rect", "waiting")[0]
    assert waiting.get("width") == "24.39%"
    assert marks(chart, "polyline")[0].get("points", "").endswith("97.56,0.00")


def test_a_long_stream_is_binned() -> None:
    """However many chunks it has, and every one of them is counted."""
    ticks = [ChunkTick(n * MS, 5) for n in range(50_000)]
    chart = chunk_timeline(ticks, 50_000 * MS, content=0)
    bars = [title for title in titles(chart) if title.partition(" ")[2].startswith("chunks from")]
    assert marks(chart, "g", "tick") == []
    assert len(bars) <= BINS
    assert sum(int(title.partition(" ")[0]) for title in bars) == 50_000
    assert len(str(chart)) < 100_000
    assert len(ticks) > MOST_TICKS


def test_an_answer_without_chunks_waits_to_its_end() -> None:
    """And takes no time where it has none."""
    assert marks(chunk_timeline([], 5 * MS, content=None), "rect", "waiting")[0].get("width") == "100%"
    assert marks(chunk_timeline([], 0, content=None), "rect", "waiting")[0].get("width") == "0%"


def test_the_legs_of_a_pair_are_below_one_another() -> None:
    """Each waits, then receives, on one axis."""
    chart = waterfall(
        "pair", [Lane("prefill", 2 * MS, 30 * MS, 31 * MS), Lane("decode", 35 * MS, 40 * MS, 90 * MS, "b")]
    )
    assert titles(chart)[1:] == ["prefill: from 2.0 ms, 29.0 ms", "decode: from 35.0 ms, 55.0 ms"]
    waiting = marks(chart, "rect", "waiting")
    assert [bar.get("x") for bar in waiting] == ["2.22%", "38.89%"]
    assert marks(waterfall("none", []), "rect") == []
