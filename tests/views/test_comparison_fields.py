"""A comparison as data: what programs read of it."""

from __future__ import annotations

import json
from pathlib import Path

import orjson

from replayproxy.core.comparison.agreement_level import AgreementLevel
from replayproxy.views.comparison_fields import SCHEMA, report_fields, verdict_word
from tests.views.test_comparison import compared, judged, record


def test_the_whole_report(tmp_path: Path) -> None:
    """Verdict, counts, gates with interval, times, levels, and each difference with its place."""
    first = record(tmp_path / "a", count=8)
    second = record(tmp_path / "b", seed=1, count=9, words=["Hi", " there", " number", " two", " and", " on"])
    report = report_fields(judged(compared(first, second), gates=("ttft <= 1.5", "missing == 0")))
    assert json.loads(orjson.dumps(report)) == report
    assert (report["schema"], report["verdict"], report["exit_code"]) == (SCHEMA, "failed", 5)
    assert (report["counts"]["pairs"], report["counts"]["extra"], report["counts"]["text"]) == (8, 1, 1)
    gate = report["gates"][0]
    assert (gate["expr"], gate["verdict"], gate["limit"]) == ("ttft <= 1.5", "passed", 1.5)
    assert gate["interval"][0] < gate["value"] < gate["interval"][1]
    (run,) = report["runs"]
    assert run["levels"] == {"bytes": 7, "frames": 0, "canonical": 0, "text": 0, "structure": 1, "none": 0}
    (pair,) = run["differing"]
    assert (pair["verdict"], pair["differences"][0]["token"]) == ("changed", 3)
    assert [row["request"] for row in run["extra"]] == ["POST /v1/chat/completions"]
    assert {"ttft", "gap", "total"} <= report["times"].keys()


def test_every_level_has_a_word() -> None:
    """Four of them, as in reports."""
    words = {verdict_word(level) for level in AgreementLevel}
    assert words == {"identical", "benign", "changed", "regression"}
