"""The pages of the documentation, and what stands in them: fenced blocks, links, headings.

Knows Markdown as far as these pages use it.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
NAMES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES = {name: (ROOT / name).read_text("utf-8") for name in NAMES}


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[name], re.MULTILINE | re.DOTALL)


def prose(name: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", PAGES[name], flags=re.MULTILINE | re.DOTALL)


def links(name: str) -> list[str]:
    """Where the links and pictures of a page lead."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(name))


def anchors(name: str) -> set[str]:
    """What may stand behind `#` in a link to this page."""
    titles = re.findall(r"^#+ (.+)$", prose(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def section(name: str, title: str) -> str:
    """The part of a page below a heading of the second level."""
    _, found, rest = PAGES[name].partition(f"\n## {title}\n")
    assert found, f"{name} has no section {title!r}"
    return rest.partition("\n## ")[0]


def first_column(text: str) -> list[str]:
    """The first cells of the tables in a text, without their headings."""
    rows = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return [row for row, before in zip(rows, ["", *rows], strict=False) if not set(row) <= set("-| ") and before != ""]
