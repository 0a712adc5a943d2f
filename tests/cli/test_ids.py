"""`id` is what `show` takes, in every output; a row's number is `number`."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import asking, execute, tape
from tests.cli.tapes import Read

HEX = re.compile(r"[0-9a-f]{8}")


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """Three chats."""
    return tape(tmp_path / "chat.cassette", "a", "b", "c")


def shown(read: Read, cassette: Path, id: str) -> dict[str, Any]:
    """What `show` gives for an id."""
    assert HEX.fullmatch(id), id
    ran = read("show", cassette, id, "--json")
    assert ran.code == 0, ran.err
    value: dict[str, Any] = json.loads(ran.out)
    return value


def test_a_script_goes_from_ls_to_show(read: Read, cassette: Path) -> None:
    """In each data format, to the same row."""
    rows = json.loads(read("ls", cassette, "--json").out)
    assert [row["number"] for row in rows] == [1, 2, 3]
    for row in rows:
        it = shown(read, cassette, row["id"])
        assert {**it, "legs": len(it["legs"])}.items() >= row.items()
    for form, delimiter in (("--csv", ","), ("--tsv", "\t")):
        table = list(csv.DictReader(io.StringIO(read("ls", cassette, form).out), delimiter=delimiter))
        assert [(row["number"], row["id"]) for row in table] == [(str(row["number"]), row["id"]) for row in rows]
    assert list(rows[0])[:2] == ["number", "id"]
    assert "short_id" not in read("ls", cassette, "--json").out


def test_sql_has_the_same_names(read: Read, cassette: Path) -> None:
    """--where, --sort and prune know a row by either."""
    first, *_, last = json.loads(read("ls", cassette, "--json").out)
    for where, value in (("id = :x", last["id"]), ("number = :x", "3")):
        (found,) = json.loads(read("ls", cassette, "--json", "--where", where, "-p", "x", value).out)
        assert found == last
    assert json.loads(read("ls", cassette, "--json", "--sort", "-number", "-n", "1").out) == [last]
    assert first["id"] in read("prune", cassette, "--where", "number = 1", "--dry-run").err


def test_reports_and_misses_name_ids_that_can_be_shown(read: Read, cassette: Path, tmp_path: Path) -> None:
    """What was not used, and what is near to what was not there."""
    run = tmp_path / "run.json"
    ran = execute(cassette, "--report", run, "--", *asking("a", "a little different"))
    report = json.loads(run.read_text())
    for one in report["unused"]:
        assert shown(read, cassette, one["id"])["method"] == one["method"]
    assert {found for found in HEX.findall(ran.err) if found in json.dumps(report)}


def test_a_cassette_of_format_1_has_the_same_columns(read: Read, cassette: Path) -> None:
    """The one that will be opened for ever."""
    golden = Path(__file__).parents[2] / "cassettes" / "format-1.cassette"
    old = json.loads(read("ls", golden, "--json").out)
    assert list(old[0]) == list(json.loads(read("ls", cassette, "--json").out)[0])
    assert shown(read, golden, old[0]["id"])["number"] == old[0]["number"]
