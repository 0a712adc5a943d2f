"""The page of `diff --html`: one file that loads nothing, whatever was recorded, with what the terminal shows."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.tapes import Read, chat, writing
from tests.views.test_statistics_page import HOSTILE, Tags


def two(folder: Path, *, other: str) -> list[Path]:
    """Two recordings of the same requests; the second has another text in its first answer, and is slower."""
    paths = [folder / "a.cassette", folder / "b.cassette"]
    for path, text, late in zip(paths, ("same", other), (0, 30), strict=True):
        with writing(path) as keep:
            times = [[90 + n + late, 120 + n + late] for n in range(12)]
            tapes = [chat(str(n), words=("a", "b"), at=at, model=HOSTILE, started=at[0]) for n, at in enumerate(times)]
            keep(*tapes, chat("told", words=("a", text), at=[90, 120], started=500))
    return paths


def test_a_page_loads_nothing_and_runs_nothing(read: Read, tmp_path: Path) -> None:
    """No script, no address, no attribute that runs; texts stand there as text; verdict, charts, places are there."""
    page = tmp_path / "diff.html"
    ran = read("diff", *two(tmp_path, other=f"{HOSTILE} other"), "--gate", "p95(ttft) <= 1.10", "--html", page)
    assert ran.code == 5
    text = page.read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    names = {name for name, _ in tags.seen}
    assert {"table", "svg", "polyline", "h1", "dl", "pre"} <= names or {"table", "svg", "path", "pre"} <= names
    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "base"})
    attributes = {key for _, found in tags.seen for key in found}
    assert not {key for key in attributes if key.startswith("on") or key in ("src", "action")}
    assert re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import", text) is None
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    for expected in ("failed, exit code 5", "p95(ttft) &lt;= 1.10", "1 other text, same structure", "TTFT"):
        assert expected.removeprefix("1 ") in text


def test_a_page_never_replaces_a_cassette(read: Read, tmp_path: Path) -> None:
    """Exit code 2, and the cassettes are as they were."""
    paths = two(tmp_path, other="same")
    before = [path.read_bytes() for path in paths]
    assert read("diff", *paths, "--html", paths[0]).code == 2
    assert [path.read_bytes() for path in paths] == before


def test_two_exchanges_have_no_page(read: Read, tmp_path: Path) -> None:
    """With ids the option would do nothing, so it is refused."""
    ran = read("diff", *two(tmp_path, other="same"), "0000", "--html", tmp_path / "x.html")
    assert ran.code == 2
    assert not (tmp_path / "x.html").exists()
