"""`check-wire` as people and programs read it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.cli.tapes import Read
from tests.views.test_wire_check import recorded


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """What the server sent."""
    return recorded(tmp_path / "before.cassette", "x", "y")


def test_a_good_gateway_in_four_lines(before: Path, tmp_path: Path, read: Read) -> None:
    """Exit code 0."""
    ran = read("check-wire", before, recorded(tmp_path / "behind.cassette", "x", "y", at=(103, 123, 143)))
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "pairs      2, of which 2 have equal bytes",
        "events     0 of 12 held back",
        "added      per chunk    p50 3.0 ms, p99 3.0 ms, max 3.0 ms",
        "           first chunk  p50 3.0 ms, p99 3.0 ms, max 3.0 ms",
    ]


def test_differences_are_shown_where_they_are(before: Path, tmp_path: Path, read: Read) -> None:
    """Both sides, control characters made visible; exit code 5."""
    behind = recorded(tmp_path / "behind.cassette", "x", "z", words="a \x1b[31mB c")
    ran = read("check-wire", before, behind, "--max-added", "0ms")
    assert ran.code == 5
    assert "only before  1 exchange" in ran.out
    assert "only behind  1 exchange" in ran.out
    assert "bytes differ from" in ran.out
    assert "\x1b" not in ran.out


def test_programs_get_the_same(before: Path, tmp_path: Path, read: Read) -> None:
    """As one object, with the exit code; rows there are none."""
    ran = read("check-wire", before, recorded(tmp_path / "behind.cassette", "z"), "--json")
    assert ran.code == 9
    assert orjson.loads(ran.out) | {"exit_code": 9, "pairs": 0} == orjson.loads(ran.out)
    assert "use --json" in read("check-wire", before, before, "--csv").err


def test_a_limit_of_latency(before: Path, tmp_path: Path, read: Read) -> None:
    """Exit code 5 above it, and the line says so."""
    behind = recorded(tmp_path / "behind.cassette", "x", "y", at=(110, 130, 150))
    ran = read("check-wire", before, behind, "--max-added", "5ms")
    assert ran.code == 5
    assert "p99 is above --max-added 5.0 ms" in ran.out
    assert read("check-wire", before, behind, "--max-added", "20ms").code == 0
