"""Tests of `views/units`: numbers as people read them."""

from __future__ import annotations

import pytest

from replayproxy.views import units

DURATIONS = [
    (0, "0 ms"),
    (0.0000001, "0 ms"),
    (0.00003, "0.03 ms"),
    (0.00094, "0.94 ms"),
    (0.00096, "1.0 ms"),
    (0.0182, "18.2 ms"),
    (0.09996, "100 ms"),
    (0.2141, "214 ms"),
    (0.9994, "999 ms"),
    (0.9996, "1.00 s"),
    (5.912, "5.91 s"),
    (9.996, "10.0 s"),
    (61.04, "61.0 s"),
    (99.96, "100 s"),
    (998, "998 s"),
    (1000, "17 min"),
    (7199, "2 h 00 min"),
    (90_000, "25 h 00 min"),
    (1_000_000, "12 days"),
]


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_a_duration_has_three_digits_and_a_unit(seconds: float, text: str) -> None:
    """Also at the edges, where rounding would make a fourth."""
    assert units.duration(seconds) == text


def test_counts_have_thin_spaces() -> None:
    """Which are no blanks to `awk`."""
    assert [units.count(number) for number in (0, 999, 1842, 1_404_000, 72.48, 1842.5, 94.0)] == [
        "0",
        "999",
        "1\u2009842",
        "1\u2009404\u2009000",
        "72.5",
        "1\u2009842",
        "94",
    ]


def test_sizes_are_binary() -> None:
    """As disks of Linux are counted."""
    assert [units.size(number) for number in (0, 1023, 4200, 61.8 * 1024, 3 * 2**20, 2**40)] == [
        "0 B",
        "1023 B",
        "4.1 KiB",
        "61.8 KiB",
        "3.0 MiB",
        "1.0 TiB",
    ]


def test_shares_and_plurals() -> None:
    """A share of nothing is nothing."""
    assert (units.share(25, 1000), units.share(0, 0)) == ("2.50 %", "-")
    assert (units.plural(1, "tool"), units.plural(2000, "tool")) == ("1 tool", "2\u2009000 tools")


def test_moments_are_utc() -> None:
    """To the millisecond; a time that no calendar has stays a number."""
    assert units.moment(1_795_000_000_118_000_000) == "2026-11-18 11:06:40.118"
    assert units.moment(-1) == "1969-12-31 23:59:59.999"
    assert units.moment(2**70) == f"{2**70} ns"
