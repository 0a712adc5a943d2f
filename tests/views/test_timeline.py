"""Tests of `views/timeline`: chunks as a line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replayproxy.views.timeline import Lateness, axis, bars, draw

MS = 1_000_000


def at(*times: float) -> list[int]:
    """Times in ms."""
    return [round(time * MS) for time in times]


def test_waiting_then_chunks() -> None:
    """Dots until the first content; then a block where chunks came."""
    assert draw(at(50, 60, 70, 80, 90), 100 * MS, 10) == ".....█████"


def test_the_word_stands_in_the_waiting_where_it_fits() -> None:
    """With a dot on each side at least."""
    assert draw(at(80, 90), 100 * MS, 20, word="TTFT") == "......TTFT......█ █ "
    assert draw(at(20, 90), 100 * MS, 20, word="TTFT") == "....█             █ "


def test_height_is_density() -> None:
    """The fullest moment has a whole block."""
    assert draw(at(0, 10, 20, 30, 40, 60), 100 * MS, 2) == "█▂"


def test_a_late_chunk_is_marked_and_silence_is_blank() -> None:
    """More than three times the median gap after the one before."""
    assert draw(at(10, 20, 30, 40, 80, 90), 100 * MS, 10) == ".████   !█"


def test_waiting_goes_on_to_the_first_content() -> None:
    """A first chunk may say nothing but the role."""
    assert draw(at(10, 80, 90), 100 * MS, 10, content=80 * MS) == ".█......██"


def test_nothing_but_waiting() -> None:
    """An answer that never came."""
    assert draw([], 100 * MS, 10, word="waiting") == ".waiting.."
    assert draw([], 0, 10) == ""


def test_a_leg_waits_from_its_own_start() -> None:
    """It is not drawn before it was asked."""
    assert draw(at(60), 100 * MS, 10, start=30 * MS) == "   ...█   "


def test_chunks_read_together_do_not_make_the_others_late() -> None:
    """Where most gaps are nothing, a gap is late against the mean."""
    bursts = [time for burst in range(10) for time in at(*[100 * burst] * 10)]
    assert Lateness.of(bursts) == Lateness(tuple(range(10, 100, 10)), "mean")
    steady = at(*(10 * place for place in range(100)))
    assert Lateness.of(steady) == Lateness((), "median")
    assert Lateness.of(at(1, 2)) == Lateness()


def test_the_axis_has_round_times() -> None:
    """0 at its left, the end at its right."""
    assert axis(4_000 * MS, 64) == "0               1.00 s          2.00 s          3.00 s    4.00 s"
    assert axis(639 * MS, 20) == "0             639 ms"
    assert axis(639 * MS, 3) == "0"


@given(
    st.lists(st.integers(0, 10**12), max_size=60).map(sorted),
    st.integers(0, 10**12),
    st.integers(1, 300),
)
def test_a_drawing_is_as_wide_as_it_was_told(chunks: list[int], rest: int, width: int) -> None:
    """Whatever the times; the axis never wider."""
    end = (chunks[-1] if chunks else 0) + rest
    assert len(draw(chunks, end, width, word="TTFT")) == (width if end else 0)
    assert len(axis(max(1, end), width)) <= width


def test_bars_are_as_high_as_the_numbers() -> None:
    """Beside the largest; nothing is a blank."""
    assert bars([4, 1, 0, 1]) == "█▂ ▂"
    assert bars([2]) == "█"
    assert bars([]) == ""
