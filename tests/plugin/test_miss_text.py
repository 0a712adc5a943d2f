"""The text of a test that missed, and its misses in a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.model import Request
from replayproxy.pytest_plugin.miss_text import SHOWN_MISSES, miss_documents, miss_text
from replayproxy.views.miss import Miss

MISS = Miss("nothing_close", Request("POST", "/v1/chat/completions", (), b"{}"), "rp1:00")
SENTENCE = (
    "no recording matches this POST /v1/chat/completions, and there is none for this endpoint: record it, with"
    " --on-miss record and an --upstream."
)


@pytest.fixture
def item(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Item:
    """A test."""
    monkeypatch.delenv("CI", raising=False)
    found = pytester.getitem("def test_asks(replayproxy): ...", "test_asks")
    assert isinstance(found, pytest.Item)
    return found


def test_each_different_miss_is_explained_once(item: pytest.Item) -> None:
    """All are counted; the last line is the command that records them."""
    record = (
        f"Record what is missing: pytest '{item.nodeid}' --replayproxy-mode new_episodes --replayproxy-upstream URL"
    )
    assert miss_text(item, "a.cassette", [MISS]).splitlines() == [
        "replayproxy: a request of this test found no answer on a.cassette",
        SENTENCE,
        record,
    ]
    other = replace(MISS, request=Request("GET", "/v1/models"))
    assert miss_text(item, "a.cassette", [MISS, other, MISS]).splitlines() == [
        "replayproxy: 3 requests of this test found no answer on a.cassette",
        SENTENCE,
        SENTENCE.replace("POST /v1/chat/completions", "GET /v1/models"),
        record,
    ]


def test_many_different_misses_are_counted(item: pytest.Item) -> None:
    """The first ones are explained."""
    many = [replace(MISS, request=Request("GET", f"/v1/{number}")) for number in range(SHOWN_MISSES + 3)]
    lines = miss_text(item, "a.cassette", many).splitlines()
    assert (len(lines), lines[-2]) == (SHOWN_MISSES + 3, "and 3 more")


def test_in_ci_the_command_allows_to_record(item: pytest.Item, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the option it would be refused there."""
    monkeypatch.setenv("CI", "true")
    assert miss_text(item, "a.cassette", [MISS]).endswith(" --replayproxy-allow-record")


def test_a_report_counts_equal_misses(tmp_path: Path) -> None:
    """By code and key; its paths are those of the repository."""
    damaged = replace(MISS, code="damaged", key="rp1:01", damage=f"{tmp_path}/a.cassette is torn")
    documents = miss_documents([MISS, damaged, MISS], tmp_path)
    assert [(miss["code"], miss["times"]) for miss in documents] == [("nothing_close", 2), ("damaged", 1)]
    assert "cannot be played: a.cassette is torn" in documents[1]["sentence"]
    assert miss_documents([], tmp_path) == []
