"""The numbers people see."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.dialects.facts import Facts
from replayproxy.core.stats import DEFINITIONS, Measure, Summary, measure, percentile, summarise, tpot
from replayproxy.model import Chunk, End, Ending, Exchange, Head, Request, Response

VALUES = st.lists(st.integers(0, 10**12), min_size=2, max_size=60)


@given(VALUES, st.integers(1, 99))
def test_percentiles_are_those_of_the_standard_library(values: list[int], percent: int) -> None:
    """Linear interpolation between closest ranks, `inclusive` there and numpy's default."""
    ordered = sorted(values)
    expected = statistics.quantiles(ordered, n=100, method="inclusive")[percent - 1]
    assert percentile(ordered, percent) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(VALUES)
def test_the_ends_are_the_extremes(values: list[int]) -> None:
    """0 is the least, 100 the greatest, 50 the median."""
    ordered = sorted(values)
    assert percentile(ordered, 0) == ordered[0]
    assert percentile(ordered, 100) == ordered[-1]
    assert percentile(ordered, 50) == pytest.approx(statistics.median(ordered))


def test_one_value_is_every_percentile() -> None:
    """There is nothing to interpolate."""
    assert [percentile([7], percent) for percent in (0, 50, 99, 100)] == [7, 7, 7, 7]


@given(VALUES)
def test_a_summary_is_the_standard_library_s(values: list[int]) -> None:
    """Mean, extremes, and the population's standard deviation; the order of the values does not matter."""
    summary = summarise(values)
    assert summary is not None
    assert (summary.n, summary.min, summary.max) == (len(values), min(values), max(values))
    assert summary.mean == pytest.approx(statistics.fmean(values))
    assert summary.std == pytest.approx(statistics.pstdev(values), rel=1e-6, abs=1e-3)
    assert summary.min <= summary.p50 <= summary.p90 <= summary.p95 <= summary.p99 <= summary.max
    assert summarise(reversed(values)) == summary


def test_nothing_has_no_summary() -> None:
    """A table then says so; zeros would be a lie."""
    assert summarise([]) is None
    assert summarise(iter([4])) == Summary(1, 4, 4, 4, 4, 4, 4, 4, 0)


@pytest.mark.parametrize(
    ("ttft", "total", "tokens", "expected"),
    [
        (100, 400, 4, 100.0),
        (100, 100, 2, 0.0),
        (None, 400, 4, None),
        (100, 400, None, None),
        (100, 400, 1, None),
        (0, 9, 2, 9.0),
    ],
)
def test_tpot(ttft: int | None, total: int, tokens: int | None, expected: float | None) -> None:
    """(end - TTFT) / (output tokens - 1); unknown where one of them is, or where there is no second token."""
    assert tpot(ttft, total, tokens) == expected


def test_an_exchange_is_measured() -> None:
    """TTFT is the first event with content, not the role chunk before it; gaps stand between chunks."""
    pieces = [
        b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"b"}}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3}}\n\ndata: [DONE]\n\n',
    ]
    chunks = [Chunk(at, piece) for at, piece in zip((10, 50, 70, 71), pieces, strict=True)]
    response = Response.of(Head(9, 200, (("content-type", "text/event-stream"),)), chunks, End(90, Ending.COMPLETE))
    exchange = Exchange(Request("POST", "/v1/chat/completions"), response, recorded_at=0)
    assert measure(exchange) == Measure(ttft=50, tpot=20.0, total=90, gaps=(40, 20, 1))
    assert measure(exchange, Facts()) == Measure(ttft=None, tpot=None, total=90, gaps=(40, 20, 1))


def test_every_number_is_explained() -> None:
    """`--explain` has a line for each."""
    assert set(DEFINITIONS) == {"TTFT", "Chunk gap", "TPOT", "Total", "percentiles"}
    assert math.isfinite(percentile([0, 10**18], 99.9))
