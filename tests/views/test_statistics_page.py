"""Tests of `views/statistics_page`: one HTML file that loads nothing, whatever was recorded."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from tests.cli.tapes import Read, chat, writing

HOSTILE = "<script>alert(1)</script>\x1b[2J\" onload='x'"

VOID = {"meta", "br"}


class Tags(HTMLParser):
    """The elements of a document, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One begins."""
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The innermost one ends."""
        assert self.open.pop() == tag


def test_a_page_loads_nothing_and_runs_nothing(read: Read, tmp_path: Path) -> None:
    """No script, no address, no attribute that runs; names stand there as text; it has a chart with bars."""
    path, page = tmp_path / "a.cassette", tmp_path / "stats.html"
    with writing(path) as keep:
        keep(*(chat(str(n), model=HOSTILE, at=[90 + n, 120 + n, 150], started=10 * n) for n in range(25)))
    ran = read("stats", path, "--html", page, "--assert", "ttft.p99 < 1ms")
    assert ran.code == 5
    text = page.read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    names = {name for name, _ in tags.seen}
    assert {"table", "svg", "rect", "h1", "dl"} <= names
    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "base"})
    attributes = {key for _, found in tags.seen for key in found}
    assert not {key for key in attributes if key.startswith("on") or key in ("src", "action")}
    assert re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import", text) is None
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J" in text
    assert "does not hold for" in text


def test_a_page_never_replaces_a_cassette(read: Read, tmp_path: Path) -> None:
    """Exit code 2, and the cassette is as it was."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("a"))
    before = path.read_bytes()
    assert read("stats", path, "--html", path).code == 2
    assert path.read_bytes() == before
