"""Tests of `views/assertion`: claims are read, and judged in every group."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from replayproxy.errors import SettingsError
from replayproxy.views.assertion import Claim, read_claim
from tests.cli.tapes import Read, answer, asked, chat, writing

CLAIMS = [
    ("ttft.p99<500ms", ("ttft_s", "p99", "<", 0.5)),
    ("p95(ttft) <= 0.3s", ("ttft_s", "p95", "<=", 0.3)),
    ("TPOT.avg < 25ms", ("tpot_s", "avg", "<", 0.025)),
    ("mean(itl) < 1", ("chunk_gap_s", "avg", "<", 1.0)),
    ("total_s.max<2m", ("total_s", "max", "<", 120.0)),
    ("output_tokens.min >= 3", ("output_tokens", "min", ">=", 3.0)),
    ("ttft.n > 10", ("ttft_s", "n", ">", 10.0)),
    ("errors == 0", ("errors", "n", "==", 0.0)),
    ("output_tokens_per_s>=1000", ("output_tokens_per_s", "avg", ">=", 1000.0)),
]


@pytest.mark.parametrize(("text", "expected"), CLAIMS)
def test_a_claim_is_read(text: str, expected: tuple[str, str, str, float]) -> None:
    """Figure and measure in either order, with or without spaces; times with a unit or in seconds."""
    assert read_claim(text) == Claim(text, *expected)


WRONG = [
    ("ttft", "is not a claim"),
    ("ttft.p99 = 1", "is not a claim"),
    ("", "is not a claim"),
    ("tftt.p99 < 1s", "there is no measure 'tftt'"),
    ("ttft < 1s", "names no figure: write ttft.p99"),
    ("ttft.p98 < 1s", "no figure 'p98'"),
    ("ttft.p99 < fast", "'fast' is not a duration"),
    ("errors == none", "'none' is not a number"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_what_is_no_claim(read: Read, tmp_path: Path, text: str, sentence: str) -> None:
    """A sentence before anything is read: exit code 2."""
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        read_claim(text)
    ran = read("stats", tmp_path / "missing.cassette", "--assert", text)
    assert ran.code == 2
    assert sentence in ran.err


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two models, the second of which is slower and fails once."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(
            chat("a", started=0),
            chat("b", model="slow", at=[900, 920, 940], started=1000),
            answer(asked("c", model="slow"), b"{}", status=500, started=2000),
        )
    return path


def test_a_claim_that_holds(read: Read, path: Path) -> None:
    """Exit code 0, and a line per group."""
    ran = read("stats", path, "--assert", "p99(ttft) < 1s")
    assert ran.code == 0
    assert "p99(ttft) < 1s: holds for tiny, where it is 100 ms" in ran.err
    assert "p99(ttft) < 1s: holds for slow, where it is 900 ms" in ran.err


def test_a_claim_that_does_not_hold(read: Read, path: Path) -> None:
    """Exit code 5, though it holds in another group, and also with data on stdout."""
    ran = read("stats", path, "--assert", "ttft.p50<500ms", "--assert", "errors == 0", "--csv")
    assert ran.code == 5
    assert "ttft.p50<500ms: does not hold for slow, where it is 900 ms" in ran.err
    assert "errors == 0: does not hold for slow, where it is 1" in ran.err
    assert ran.out.startswith("group,measure,n,")


def test_a_claim_about_nothing_fails(read: Read, path: Path) -> None:
    """No leg was measured, and no exchange is that old: a green run proves something."""
    ran = read("stats", path, "--assert", "prefill.p99 < 1s")
    assert (ran.code, "prefill.p99 < 1s: there is nothing to measure in any group" in ran.err) == (5, True)
    assert read("stats", path, "--assert", "ttft.p99 < 1s", "--until", "2000-01-01").code == 5
