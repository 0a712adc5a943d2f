"""The table has each metric once, and buckets that Prometheus accepts."""

from __future__ import annotations

import pytest

from replayproxy.simulator.metric_table import COUNTER, EXTRA, HISTOGRAM, TABLE, TOKENS, token_bounds


def test_each_name_is_there_once() -> None:
    """Also among those that only somebody who sets them has."""
    names = [row.name for row in (*TABLE, *EXTRA.values())]
    assert len(names) == len(set(names)) > 40


def test_rows_are_as_vllm_names_them() -> None:
    """Counters without `_total`, which is added to them; only labelled metrics have values of a label."""
    for row in TABLE:
        assert row.kind != COUNTER or not row.name.endswith("_total")
        assert bool(row.values) == (row.label is not None)
        assert row.meaning.endswith(".")
        assert row.kind == HISTOGRAM or not row.bounds


def test_buckets_ascend() -> None:
    """Each bound is above the one before it."""
    for row in TABLE:
        assert list(row.bounds) == sorted(set(row.bounds))
        assert row.kind != HISTOGRAM or row.bounds or row.bounds is TOKENS


@pytest.mark.parametrize(
    ("longest", "bounds"),
    [(1, (1,)), (4, (1, 2)), (5, (1, 2, 5)), (1024, (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)), (0, ())],
)
def test_bounds_of_token_counts(longest: int, bounds: tuple[float, ...]) -> None:
    """1-2-5 up to the longest context, and not beyond."""
    assert token_bounds(longest) == bounds
