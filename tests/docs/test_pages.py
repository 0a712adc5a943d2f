"""What the pages say about the package is so: names, columns, codes, metrics, links; and the README is short."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from replayproxy.admin.metrics import ProxyCollector
from replayproxy.cassette.hand_over_counts import HandOverCounts
from replayproxy.cassette.schema import FORMAT, FORMATS
from replayproxy.core.identity.normalise import BUILT_IN
from replayproxy.core.identity.rules import DEFAULT_IGNORE
from replayproxy.core.policy import PROBES
from replayproxy.model import Ending
from replayproxy.proxy.carried_ids import CarriedUse
from replayproxy.proxy.counters import Counters
from replayproxy.views.miss import FORGOTTEN, UNPLAYABLE, Miss
from tests.docs.pages import NAMES, PAGES, ROOT, anchors, blocks, first_column, links, prose, section

CASSETTE = ROOT / "cassettes" / f"format-{FORMAT}.cassette"
SQL = [(name, block) for name in NAMES for block in blocks(name, "sql")]


def names_in(text: str) -> set[str]:
    """What stands between backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def test_the_readme_is_short() -> None:
    """900 words, counted as `wc -w` does."""
    assert len(PAGES["README.md"].split()) <= 900


def test_every_page_is_linked_from_the_readme_or_the_index() -> None:
    """A page that nobody finds is not read."""
    linked = {link.partition("#")[0] for link in links("README.md")}
    linked |= {f"docs/{link.partition('#')[0]}" for link in links("docs/index.md")}
    assert {name for name in NAMES if name.startswith("docs/")} - linked == {"docs/index.md"}


@pytest.mark.parametrize("name", NAMES)
def test_links_resolve(name: str) -> None:
    """Files and headings of the repository; links to elsewhere are https."""
    page = ROOT / name
    for link in links(name):
        target, _, anchor = link.partition("#")
        if target.startswith("https://"):
            continue
        assert ":" not in target, f"{name}: {link}"
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{name}: {link} does not exist"
        assert found.is_relative_to(ROOT), f"{name}: {link} is outside the repository"
        if anchor:
            assert anchor in anchors(str(found.relative_to(ROOT))), f"{name}: {link} is not a heading"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_one_machine_is_in_the_documentation(name: str) -> None:
    """No folder of a home or a work tree, no address of a private network."""
    assert re.findall(r"(?:/home/|/root/|/work/|/Users/)\w+", PAGES[name]) == []
    assert re.findall(r"\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d+)+\b", PAGES[name]) in ([], ["10.0.0.7"])


@pytest.mark.parametrize(("name", "block"), SQL)
def test_every_query_runs(name: str, block: str) -> None:
    """On the golden cassette, which has what most of them look for."""
    with closing(sqlite3.connect(f"file:{CASSETTE}?mode=ro", uri=True)) as connection:
        for statement in filter(str.strip, block.split(";")):
            connection.execute(statement).fetchall()
    assert len(SQL) >= 6


def test_the_slowest_answers_are_found() -> None:
    """The first query has ten rows, the slowest first."""
    with closing(sqlite3.connect(f"file:{CASSETTE}?mode=ro", uri=True)) as connection:
        rows = connection.execute(SQL[0][1]).fetchall()
    assert len(rows) == 10
    assert [row[3] for row in rows] == sorted((row[3] for row in rows), reverse=True)


def test_tables_and_columns_are_documented() -> None:
    """Each table of the newest format, and each column of the view."""
    tables = {name for row in first_column(section("docs/cassette.md", "Tables")) for name in names_in(row)}
    assert tables == set(FORMATS[FORMAT].tables)
    with closing(sqlite3.connect(f"file:{CASSETTE}?mode=ro", uri=True)) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(v_exchange)")}
    text = section("docs/cassette.md", "The view `v_exchange`")
    assert {name for row in first_column(text) for name in names_in(row)} == columns


def test_endings_are_documented() -> None:
    """In the cassette's page and in the glossary."""
    endings = {ending.name.lower() for ending in Ending}
    assert endings <= names_in(PAGES["docs/cassette.md"])
    assert endings <= names_in(PAGES["docs/glossary.md"])


def test_metrics_are_documented() -> None:
    """Each family that a recorder and a replay have, and no other."""
    upstream = {"idle": 1, "repeated": 1, "urls_in_bodies": 1, "unsplit": 1}
    data_port: Any = type("Port", (), {"connections": 0, "resting": 0, "refusals": {}, "closings": {}})()
    counters = Counters()
    counters.carry(CarriedUse("", "95b09ef8", "T-81c2f0", "T-9e04aa"), requests=1)
    collector = ProxyCollector(
        "record",
        counters,
        server=data_port,
        recorded=lambda: 0,
        dropped=dict,
        queue_bytes=lambda: 0,
        degraded=lambda: False,
        upstream=lambda: upstream,
        hand_overs=HandOverCounts(),
        records=True,
        disk_free=lambda: 1,
    )
    families = {family.name + ("_total" if family.type == "counter" else "") for family in collector.collect()}
    text = section("docs/operation.md", "Metrics")
    written = {name.partition("{")[0] for row in first_column(text) for name in names_in(row)}
    assert written - {"process_*"} == families  # those are the Prometheus library's own


def test_codes_of_misses_are_documented() -> None:
    """Those that the docstring of `Miss` names, and the two with names of their own."""
    codes = set(first_column(section("docs/matching.md", "When no recording matches")))
    codes = {code.strip("`") for code in codes}
    assert codes == set(re.findall(r"`(\w+)`", (Miss.__doc__ or "").partition("one of")[2])) - {"nearest", "damage"}
    assert {UNPLAYABLE, FORGOTTEN} <= codes


def test_what_is_ignored_and_normalised_is_documented() -> None:
    """Each field that is ignored by default, and each name of a normaliser."""
    page = PAGES["docs/matching.md"]
    paragraph = page.partition("These fields of a JSON body are ignored")[2].partition("\n\n")[0]
    assert {f"$.{name}" for name in names_in(paragraph)} == set(DEFAULT_IGNORE)
    assert {name for name in BUILT_IN if not re.search(rf"[` ]{name}`", page)} == set()


def test_what_the_proxy_answers_itself_is_documented() -> None:
    """The probes."""
    assert {path for path in PROBES if f"`{path}`" not in PAGES["docs/guarantees.md"]} == set()


@pytest.mark.parametrize("name", NAMES)
def test_pages_are_in_plain_words(name: str) -> None:
    """None of the words that the glossary of the project has replaced, and no German negation."""
    replaced = r"asked for by|by nobody|nobody|somebody|whoever|heard|beat|veil|tape|keeper|shelf|tally|journal|is none"
    text = re.sub(r"`[^`\n]*`", "", prose(name))
    assert re.findall(rf"\b(?:{replaced})\b", text, re.IGNORECASE) == []


def test_files_of_the_tour_exist() -> None:
    """Each file and folder that the page on architecture names, from the root or within the package."""
    written = {name for name in names_in(PAGES["docs/architecture.md"]) if "/" in name and " " not in name}
    assert len(written) > 25
    missing = {name for name in written if not ((ROOT / name).exists() or (ROOT / "replayproxy" / name).exists())}
    assert missing == set()


def test_files_that_other_pages_name_exist() -> None:
    """What begins with a folder of the repository."""
    for name in NAMES:
        for path in re.findall(r"`((?:replayproxy|tests|tools|examples)/[\w/.-]+)`", PAGES[name]):
            assert (ROOT / path).exists(), f"{name}: {path}"
