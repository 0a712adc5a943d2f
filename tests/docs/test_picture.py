"""The terminal picture of the README is what the commands of `tools/picture.py` print today."""

from __future__ import annotations

import html
import re
from pathlib import Path
from xml.etree import ElementTree

from rich.text import Text

from tests.docs.pages import PAGES
from tests.docs.ports import free_ports, moved
from tests.forked import on_path
from tools import picture


def lines_of(svg: str) -> list[str]:
    """The text in a picture, line by line."""
    lines: dict[int, str] = {}
    for number, text in re.findall(r"line-(\d+)\)\">(.*?)</text>", svg):
        lines[int(number)] = lines.get(int(number), "") + html.unescape(text).replace("\xa0", " ")
    return [lines[number] for number in sorted(lines)]


def without_figures(line: str) -> str:
    """A line in which times, ids, ports and widths do not count."""
    line = re.sub(r"\b(?:rp1:)?(?:[0-9a-f]{8}|[0-9a-f]{32})\b", "ID", line)
    return " ".join(re.sub(r"\d+(?:\.\d+)?( (?:ms|s)\b)?", "N", line).split())


def test_the_picture_is_what_the_commands_print(tmp_path: Path) -> None:
    """Every line but the timeline; `make picture` draws it anew."""
    drawn = lines_of(picture.PICTURE.read_text("utf-8"))
    ports = free_ports()
    lines = picture.script().splitlines()
    words = "\n".join(line if line.startswith("printf") else moved(line, ports) for line in lines)
    printed = Text.from_ansi(picture.output(tmp_path, words, str(on_path()))).plain
    fresh = " ".join(without_figures(printed).split())
    steady = [line for line in drawn if not re.search("timeline|█|▄|^ +N( |$)", line)]
    assert [line for line in steady if without_figures(line) not in fresh] == [], "run `make picture`"
    assert len(steady) > 30


def test_the_picture_shows_its_commands() -> None:
    """In their order; and it is well-formed, small, and loads nothing."""
    svg = picture.PICTURE.read_text("utf-8")
    shown = [line[2:] for line in lines_of(svg) if line.startswith("$ ")]
    assert shown == list(picture.SCENE)
    ElementTree.fromstring(svg)  # noqa: S314  our own
    assert len(svg) < 60_000
    assert set(re.findall(r"https?://([\w.]+)", svg)) == {"www.w3.org", "127.0.0.1"}


def test_the_pages_have_the_picture() -> None:
    """The README and the start page of the site."""
    assert "](docs/assets/terminal.svg)" in PAGES["README.md"]
    assert "](assets/terminal.svg)" in PAGES["docs/index.md"]
