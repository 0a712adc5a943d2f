"""JUnit and Markdown of a comparison: what a CI server shows, also of a hostile recording."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from replayproxy.cli.judging.comparison_reports import comparison_junit, comparison_markdown
from tests.cli.tapes import chat, writing
from tests.views.test_comparison import compared, judged, record

HOSTILE = ["<script>|`x`", "\x1b[31m\x00\ufffe", "[a](javascript:b)"]


def pair_of(folder: Path, words: list[str]) -> tuple[Path, Path]:
    """Two recordings that differ in one answer, and in what they hold."""
    first = record(folder / "a", count=8)
    second = record(folder / "b", seed=1, count=8, words=words)
    return first, second


def test_junit_has_a_case_per_check_gate_and_answer(tmp_path: Path) -> None:
    """Undecided ones are errors: neither passed nor failed."""
    run = compared(*pair_of(tmp_path, ["Hi", " there", " number", " two", " and", " on"]))
    report = judged(run, gates=("missing == 0", "ttft <= 0.2", "ttft >= 1.0"))
    suite = ElementTree.fromstring(comparison_junit(report, "diff"))  # noqa: S314  we wrote it
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases == {
        "the same requests": [],
        "answers agree at the level text": ["failure"],
        "missing == 0": [],
        "ttft <= 0.2": ["failure"],
        "ttft >= 1.0": ["error"],
        next(name for name in cases if name and "POST" in name): ["failure"],
    }
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "3", "1")


def test_markdown_says_the_verdict_first(tmp_path: Path) -> None:
    """Then checks, times and answers, as tables."""
    run = compared(*pair_of(tmp_path, ["Hi", " there", " number", " two", " and", " on"]))
    text = comparison_markdown(judged(run, gates=("ttft <= 1.5",)))
    assert text.startswith("### ❌ failed: ")
    assert "| `ttft <= 1.5` | ✅ passed |" in text
    assert "token 3" in text


def test_a_recording_brings_no_markup(tmp_path: Path) -> None:
    """Its text is text in both, with control characters made visible."""
    paths = []
    for name, words in (("a", ["x"]), ("b", HOSTILE)):
        with writing(tmp_path / name) as keep:
            keep(chat("hello", words=words))
        paths.append(tmp_path / name)
    report = judged(compared(*paths))
    ElementTree.fromstring(comparison_junit(report, "diff"))  # noqa: S314  we wrote it
    text = comparison_markdown(report)
    assert [part for part in ("<script>", "](javascript", "\x1b", "\x00") if part in text] == []
    row = next(line for line in text.splitlines() if "script" in line)
    assert row.replace("\\|", "").count("|") == 4
