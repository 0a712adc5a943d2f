"""The page: everything is on it, recorded text is only text, and nothing leaves it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from replayproxy.api.exporting import CassetteExport, HoldsSecret
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.formats.html import HTML, MOST_TEXT, POLICY
from tests.api.test_exporting import leaky
from tests.cli.tapes import chat, pair, writing
from tests.docs.pages import ROOT
from tests.formats.files import exported

GOLDEN = ROOT / "cassettes" / "format-2.cassette"

HOSTILE = (
    "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)> \x1b]52;c;AAAA\x07 &amp;"
)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.words: list[str] = []
        self.depth: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        """Note it."""
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text of the page."""
        return "".join(self.words)


def page_of(path: Path) -> str:
    """The page of a cassette."""
    return exported(path, HTML).decode()


def test_a_page_has_a_line_a_chat_and_a_timeline_per_exchange() -> None:
    """Of each exchange of a real cassette."""
    page = Elements(page_of(GOLDEN))
    assert page.text.count("GET /v1/models") >= 1
    assert page.tags.count("details") == 2 * 36
    assert page.tags.count("svg") >= 30
    assert "A client that leaves." in page.text
    assert "36 exchanges." in page.text


def test_a_pair_has_a_waterfall(tmp_path: Path) -> None:
    """With a bar for each leg."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(pair(chat("hello")))
    text = Elements(page_of(path)).text
    assert "prefill: from " in text
    assert "decode: from " in text


def test_recorded_text_is_only_text(tmp_path: Path) -> None:
    """In the prompt, the answer, the model; no element and no attribute comes of it."""
    path, harmless = tmp_path / "a.cassette", tmp_path / "b.cassette"
    with writing(path) as keep:
        keep(chat(HOSTILE, words=[HOSTILE, "b"], model=HOSTILE))
    with writing(harmless) as keep:
        keep(chat("a", words=["a", "b"], model="a"))
    page, plain = Elements(page_of(path)), Elements(page_of(harmless))
    assert page.tags == plain.tags
    assert page.names == plain.names
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in page.text


@pytest.mark.parametrize("what", ["script", "iframe", "object", "embed", "form", "link", "img"])
def test_the_page_has_nothing_that_loads_or_runs(what: str) -> None:
    """It works offline, and its policy forbids the rest."""
    content = page_of(GOLDEN)
    page = Elements(content)
    assert what not in page.tags
    assert not {name for name in page.names if name.startswith("on") or name in ("src", "href", "style")}
    assert POLICY.replace("'", "&#x27;") in content
    style = content.partition("<style>")[2].partition("</style>")[0]
    assert re.findall(r"url\(|@import|https?:", style) == []


def test_long_texts_are_cut_and_say_so(tmp_path: Path) -> None:
    """A browser would stop at some megabytes."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("x" * (MOST_TEXT + 7)))
    assert "… 7 more characters" in Elements(page_of(path)).text


def test_a_cassette_with_a_secret_is_not_shown(tmp_path: Path) -> None:
    """Before anything is written."""
    with CassetteBrowser.open(leaky(tmp_path / "a.cassette")) as browser:
        with pytest.raises(HoldsSecret):
            CassetteExport(browser, HTML).refuse_secrets()
    assert HTML.is_to_be_shown
