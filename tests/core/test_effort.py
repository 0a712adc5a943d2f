"""How much work a body is goes by its values, not by its bytes alone."""

from __future__ import annotations

import pytest

from replayproxy.core.effort import HEAVY, SHORT, effort_of, is_heavy, is_long

PROSE = b"wonderful networks of hello, and more. "


@pytest.mark.parametrize(
    ("body", "long", "heavy"),
    [
        (b"", False, False),
        (b"[" * 1900, False, False),
        (b"[" * 2100, True, False),
        (b"[" * 40_000, True, True),
        (b"," * 2100, True, False),
        (b"{" * 2100, True, False),
        (b":" * 2100, True, False),
        (b"&" * 2100, True, False),
        (b"%" * 2100, True, False),
        (b"\n" * 2100, True, False),
        (b"hf_" * 2100, True, False),
        (PROSE * 900, False, False),
        (PROSE * 5000, True, False),
        (b"a" * SHORT, False, False),
        (b"a" * (SHORT + 1), True, False),
        (b"a" * HEAVY, True, False),
        (b"a" * (HEAVY + 1), True, True),
    ],
)
def test_marks_count_as_much_as_prose_of_32_bytes(body: bytes, long: bool, heavy: bool) -> None:
    """35 kB of prose are short, 2 kB of brackets are not."""
    assert (is_long(body), is_heavy(body)) == (long, heavy)


@pytest.mark.parametrize("size", [1000, 10_000, 100_000])
def test_effort_grows_with_the_body_and_never_falls_below_its_length(size: int) -> None:
    """So what is long by its bytes is long."""
    assert size <= effort_of(PROSE[:1] * size) <= effort_of(b"," * size) == 33 * size
