"""The page of `diff` for people, at the widths of terminals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.tapes import Read, Watch, chat, writing
from tests.views.test_comparison import record


def test_the_page(read: Read, tmp_path: Path) -> None:
    """Coverage, answers, the place of a changed token, times, gates, and the verdict last."""
    first = record(tmp_path / "a", count=12)
    second = record(tmp_path / "b", seed=1, count=11, words=["Hi", " there", " number", " two", " and", " on"])
    lines = read("diff", first, second, "--gate", "p50(ttft) <= 1.5").out.splitlines()
    assert "11 joined by key and occurrence, 1 only in the first, 0 only in the second" in lines[1]
    assert any("10 same bytes and chunks" in line for line in lines)
    assert any("token 3, character 16, chunk 3" in line for line in lines)
    assert any(line.startswith("TTFT ") for line in lines)
    assert "p99" not in next(line for line in lines if line.startswith("time "))  # of eleven pairs
    assert any(line.startswith("passed") and "p50(ttft) <= 1.5" in line for line in lines)
    assert lines[-1] == "exit 5 (failed)"


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_line_of_the_table_wraps(watch: Watch, tmp_path: Path, columns: int) -> None:
    """Columns that say less go where there is no room."""
    first, second = record(tmp_path / "a", count=8), record(tmp_path / "b", seed=1, count=8)
    _, out = watch(columns, "diff", first, second, NO_COLOR="1")
    table = [line for line in out.splitlines() if line.startswith(("time ", "TTFT", "Longest", "Total"))]
    assert len(table) == 4
    assert max(map(len, table)) <= columns


def test_more_answers_than_are_shown(read: Read, tmp_path: Path) -> None:
    """How many, and how to see them."""
    with writing(tmp_path / "a") as keep:
        keep(*(chat(f"x{number}", started=number) for number in range(5)))
    with writing(tmp_path / "b") as keep:
        keep(*(chat(f"x{number}", words=["No"], started=number, usage=(10, 3)) for number in range(5)))
    out = read("diff", tmp_path / "a", tmp_path / "b", "-n", "2").out
    assert out.count("changed") == 2
    assert "… 3 more: -n 5, or --json" in out


def test_a_recording_writes_nothing_to_the_terminal(read: Read, tmp_path: Path) -> None:
    """Escape sequences in an answer are made visible."""
    for name, words in (("a", ["x"]), ("b", ["\x1b]0;title\x07\x1b[31m"])):
        with writing(tmp_path / name) as keep:
            keep(chat("hello", words=words))
    assert "\x1b" not in read("diff", tmp_path / "a", tmp_path / "b").out
