"""The table of clients in docs/faults.md is what `tools.fault_table` writes: two columns of it are tried here."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.docs.pages import PAGES
from tools import fault_table
from tools.fault_table import BEGIN, CLIENTS, END, FAULTS, column


def rows() -> list[list[str]]:
    """The cells of the table of the page, without its head."""
    written = PAGES["docs/faults.md"].partition(BEGIN)[2].partition(END)[0]
    lines = [line for line in written.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_each_fault_and_each_client() -> None:
    """In the order of the program, with a version of each client."""
    assert [cells[0] for cells in rows()] == [f"`{fault}`" for fault in FAULTS]
    assert {len(cells) for cells in rows()} == {1 + len(CLIENTS)}
    versions = re.findall(
        r"([a-z-]+) \d+\.[\d.]+", PAGES["docs/faults.md"].partition(END)[0].rpartition("Versions:")[2]
    )
    assert versions == list(CLIENTS)


@pytest.mark.parametrize("client", ["httpx", "curl"])
def test_a_column_is_what_the_client_does(client: str) -> None:
    """Those that need no SDK: what they see of each fault, and whether they ask again."""
    if client == "curl" and shutil.which("curl") is None:
        pytest.skip("curl is not installed: the column of the page cannot be tried")
    version, cells = column(client)
    if f"{client} {version}" not in PAGES["docs/faults.md"]:
        pytest.skip(f"the page was written with another version than {client} {version}")
    place = 1 + list(CLIENTS).index(client)
    assert cells == [row[place] for row in rows()]


def test_a_cell_says_what_was_seen_and_done() -> None:
    """In words, with what nobody noticed in bold."""
    assert fault_table.cell("cut@3", "short", 0) == "**short answer, no error**"
    assert fault_table.cell("garbage@3", "whole", 0) == "**garbage in the answer, no error**"
    assert fault_table.cell("garbage@3", "whole", 1) == "asks again: whole answer"
    assert fault_table.cell("status=503", "APIError", 2) == "asks again 2 times: `APIError`"
