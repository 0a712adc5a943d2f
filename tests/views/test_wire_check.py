"""Two recordings of one gateway, joined and summed up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.views import wire_check
from replayproxy.views.wire_check import WireReport, check_wire
from tests.cli.tapes import chat, writing


def recorded(path: Path, *prompts: str, at: tuple[float, ...] = (100, 120, 140), words: str = "a b c") -> Path:
    """A chat for each of these, with three words at these times."""
    with writing(path) as keep:
        keep(
            *(chat(prompt, words=words.split(), at=at, started=1000 * number) for number, prompt in enumerate(prompts))
        )
    return path


def checked(before: Path, behind: Path) -> WireReport:
    """The report on two cassettes."""
    with CassetteBrowser.open(before) as first, CassetteBrowser.open(behind) as second:
        return check_wire(first, second)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """What the server sent."""
    return recorded(tmp_path / "before.cassette", "x", "y")


def test_a_gateway_that_passes_on_what_it_gets(tmp_path: Path, before: Path) -> None:
    """Equal bytes, nothing held back, 3 ms more for each chunk: exit code 0, or 5 above a limit."""
    report = checked(before, recorded(tmp_path / "behind.cassette", "x", "y", at=(103, 123, 143)))
    assert (report.pairs, report.equal, report.held) == (2, 2, 0)
    assert report.added is not None
    assert report.first_added is not None
    assert (report.added.p50, report.first_added.max) == pytest.approx((0.003, 0.003))
    assert [report.exit_code(limit) for limit in (None, 0.005, 0.002)] == [0, 0, 5]


def test_a_gateway_that_buffers(tmp_path: Path, before: Path) -> None:
    """Two events of each answer wait for the third."""
    behind = tmp_path / "behind.cassette"
    with writing(behind) as keep:
        for number, prompt in enumerate("xy"):
            part = chat(prompt, words=["a", "b", "c"], at=(100, 120, 140), started=1000 * number)
            late = tuple(part.chunks.times[-1] for _ in part.chunks.times)
            joined = replace(part.chunks, cuts=(len(part.chunks.body),), times=late[:1])
            keep(replace(part, chunks=joined))
    report = checked(before, behind)
    assert (report.equal, report.held) == (2, 4)
    assert report.longest_hold_s == pytest.approx(0.041)
    assert report.exit_code() == 5
    assert [pair.held for pair in report.differing] == [2, 2]


def test_a_gateway_that_changes_bytes(tmp_path: Path, before: Path) -> None:
    """The first difference, with what stands there; as JSON too."""
    report = checked(before, recorded(tmp_path / "behind.cassette", "x", "y", words="a B c"))
    assert (report.pairs, report.equal, report.exit_code()) == (2, 0, 5)
    document = report.document()
    assert document["differing"][0]["difference"]["what"] == "bytes"
    assert document["differing"][0]["difference"]["behind"].startswith("B")
    assert document["differing"][0]["request"] == "POST /v1/chat/completions"


def test_requests_that_one_side_does_not_have(tmp_path: Path, before: Path) -> None:
    """One that a gateway answered itself, and one that it sent twice."""
    report = checked(before, recorded(tmp_path / "behind.cassette", "x", "z"))
    assert (len(report.missing), len(report.extra), report.pairs, report.exit_code()) == (1, 1, 1, 5)


def test_nothing_to_compare_is_no_success(tmp_path: Path, before: Path) -> None:
    """Exit code 9: a check that saw nothing proves nothing."""
    assert checked(before, recorded(tmp_path / "behind.cassette", "z")).exit_code() == 9


def test_what_is_listed_is_bounded(tmp_path: Path, before: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts are of all."""
    monkeypatch.setattr(wire_check, "LISTED", 1)
    report = checked(before, recorded(tmp_path / "behind.cassette", "x", "y", words="A b c"))
    assert (len(report.differing), report.pairs - report.equal) == (1, 2)
