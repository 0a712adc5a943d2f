"""What is shared is told once, any chunks come back, and forged runs are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.cassette.coding.delta import chunks_of, cut, runs_of
from replayproxy.errors import Damaged

TOKENS = st.sampled_from([b"", b"\n", b"\0", b"a", b"ab", b"data: a", b"data: b\n\n", b"data: bb\n\n", b"y" * 5000])


@given(st.lists(st.binary(max_size=40) | TOKENS, max_size=25))
def test_any_chunks_come_back(chunks: list[bytes]) -> None:
    """Empty ones, equal ones, ones that are too long to be looked at."""
    runs, middles = runs_of(chunks)
    assert chunks_of(runs, middles, sum(map(len, chunks))) == chunks
    assert cut(b"".join(chunks), list(map(len, chunks)), sum(map(len, chunks))) == chunks


HEAD, TAIL = b'data: {"id":"chatcmpl-1","content":"', b'"}\n\n'
TOLD: dict[str, tuple[list[bytes], list[int], list[bytes]]] = {
    "nothing": ([], [], []),
    "one run": (
        [HEAD + b"a" + TAIL, HEAD + b"b" + TAIL, HEAD + b"cd" + TAIL],
        [0, 0, 1, len(HEAD), len(TAIL), 2],
        [HEAD + b"a" + TAIL, b"b", b"cd"],
    ),
    "equal chunks": ([HEAD, HEAD, HEAD], [0, 0, 1, len(HEAD), 0, 2], [HEAD, b"", b""]),
    "what is not worth a run": ([b"<a>", b"<b>"], [0, 0, 2], [b"<a>", b"<b>"]),
}


@pytest.mark.parametrize(("chunks", "runs", "middles"), TOLD.values(), ids=TOLD.keys())
def test_what_is_told(chunks: list[bytes], runs: list[int], middles: list[bytes]) -> None:
    """Shared beginning, shared end, how many chunks; and the middles."""
    assert runs_of(chunks) == (runs, middles)


FORGED: dict[str, tuple[list[int], list[bytes]]] = {
    "two numbers": ([0, 0], [b"a"]),
    "fewer middles than chunks": ([0, 0, 2], [b"a"]),
    "more middles than chunks": ([0, 0, 1], [b"a", b"b"]),
    "a prefix of nothing": ([1, 0, 1], [b"a"]),
    "a prefix and suffix that overlap": ([0, 0, 1, 2, 2, 1], [b"abc", b""]),
    "longer than it may be": ([0, 0, 1, 3, 0, 40], [b"abc"] + [b""] * 40),
}


@pytest.mark.parametrize(("runs", "middles"), FORGED.values(), ids=FORGED.keys())
def test_forged_runs_are_damage(runs: list[int], middles: list[bytes]) -> None:
    """Nothing is read that is not there, and nothing grows beyond its row's word."""
    with pytest.raises(Damaged):
        chunks_of(runs, middles, 100)


@pytest.mark.parametrize(("cuts", "size"), [([2], 9), ([4], 9), ([3], 2)])
def test_forged_cuts_are_damage(cuts: list[int], size: int) -> None:
    """They cover the body, and the body is no longer than its row says."""
    with pytest.raises(Damaged):
        cut(b"abc", cuts, size)
