"""`prune` at the command line: which recordings, whose reports, and who is asked."""

from __future__ import annotations

import hashlib
import io
import shlex
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.cassette.reader import CassetteReader
from tests.cli.commands import asking, execute, python, tape
from tests.cli.tapes import Read, on_terminal


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """Four chats: a, b, c, a."""
    return tape(tmp_path / "chat.cassette", "a", "b", "c", "a")


def rows(cassette: Path) -> list[dict[str, Any]]:
    """In the order of recording."""
    with CassetteReader(cassette) as opened:
        return list(opened.rows(order="number"))


NAMES = {"id": "id", "key": "key", "occurrence": "occurrence"}


def report(cassette: Path, *unused: int, **other: Any) -> Path:
    """A report of a good run that names these, but for what is given."""
    there = rows(cassette)
    said = {
        "verdict": "passed",
        "exit_code": 0,
        "served": 2,
        "misses": [],
        "sha256": {str(cassette): hashlib.sha256(cassette.read_bytes()).hexdigest()},
        "unused": [
            {name: there[number][column] for name, column in NAMES.items()} | {"cassette": str(cassette)}
            for number in unused
        ],
    }
    path = cassette.with_name("run.json")
    path.write_bytes(orjson.dumps(said | other))
    return path


def test_from_a_run_to_a_smaller_cassette(cassette: Path, tmp_path: Path) -> None:
    """The whole way: a run with --report, prune, and a run that has nothing unused any more."""
    run = tmp_path / "run.json"
    assert execute(cassette, "--fail-unused", "--report", run, "--", *asking("a", "c")).code == 4
    code, said = on_terminal(200, "prune", cassette, "--unused", run, "--yes")
    assert (code, "2 deleted, 2 kept" in said) == (0, True)
    assert execute(cassette, "--fail-unused", "--", *asking("a", "c")).code == 0


def test_the_report_of_an_admin_port_is_a_report(read: Read, cassette: Path, tmp_path: Path) -> None:
    """Of a run that goes on: judged when it is read, by what was served and missed so far."""
    run = tmp_path / "run.json"
    fetch = python(FETCH, str(run))
    ran = execute(cassette, "--admin-port", "0", "--", "sh", "-c", 'eval "$1"', "sh", shell(asking("a"), fetch))
    assert ran.code == 0, ran.err
    assert read("prune", cassette, "--unused", run, "--yes").code == 0
    assert len(rows(cassette)) == 1
    ran = read("prune", cassette, "--unused", run, "--yes")
    assert (ran.code, "its SHA-256 differs" in ran.err) == (1, True)


def test_the_report_of_an_admin_port_may_prove_nothing(read: Read, cassette: Path, tmp_path: Path) -> None:
    """Before anything was served, and after a miss."""
    run = tmp_path / "run.json"
    for prompts, why in (((), "vacuous, exit code 7"), (("a", "z"), "misses, exit code 3")):
        command = shell(*([asking(*prompts)] if prompts else []), python(FETCH, str(run)))
        flags = ("--allow-empty", "--admin-port", "0")
        execute(cassette, *flags, "--", "sh", "-c", 'eval "$1"', "sh", command)
        ran = read("prune", cassette, "--unused", run, "--yes")
        assert (ran.code, why in ran.err) == (1, True)


FETCH = """
import os, sys, urllib.request
with open(sys.argv[1], "wb") as file:
    file.write(urllib.request.urlopen(os.environ["REPLAYPROXY_ADMIN"] + "/report").read())
"""


def shell(*commands: list[str]) -> str:
    """Commands one after the other, as a line of a shell."""
    return " && ".join(map(shlex.join, commands))


def test_unused_and_where_choose(read: Read, cassette: Path) -> None:
    """A report, SQL with bound values, or what is in both."""
    run = report(cassette, 1, 2)
    flags = ("--unused", run, "--where", "number > :n", "-p", "n", "2")
    assert "would delete 1 of 4 recordings" in read("prune", cassette, *flags, "--dry-run").err
    assert read("prune", cassette, *flags, "--yes").code == 0
    assert [row["number"] for row in rows(cassette)] == [1, 2, 4]
    assert read("prune", cassette, "--where", "occurrence = 1", "--yes").code == 0
    assert [row["number"] for row in rows(cassette)] == [1, 2]
    assert "nothing to delete" in read("prune", cassette, "--where", "status = 500", "--yes").err


def test_a_dry_run_and_an_other_file_change_nothing(read: Read, cassette: Path, tmp_path: Path) -> None:
    """And -o needs no --yes."""
    before = cassette.read_bytes()
    ran = read("prune", cassette, "--unused", report(cassette, 1), "--dry-run")
    assert (ran.code, ran.out) == (0, "")
    assert f"  {rows(cassette)[1]['id']}  POST /v1/chat/completions" in ran.err
    assert read("prune", cassette, "--unused", report(cassette, 1), "-o", tmp_path / "less.cassette").code == 0
    assert cassette.read_bytes() == before
    assert len(rows(tmp_path / "less.cassette")) == 3


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"verdict": "child", "exit_code": 9}, "is of a run that failed (child, exit code 9)"),
    ({"verdict": "misses", "exit_code": 3}, "is of a run that failed (misses, exit code 3)"),
    ({"verdict": "vacuous", "exit_code": 7, "served": 0}, "is of a run that failed (vacuous, exit code 7)"),
    ({"verdict": "child", "exit_code": 4}, "is of a run that failed (child, exit code 4)"),
    ({"misses": [{}]}, "is of a run with misses"),
    ({"served": 0}, "is of a run that served nothing"),
    ({"sha256": {"chat.cassette": "00"}}, "its SHA-256 differs"),
    ({"sha256": {}}, "its SHA-256 differs"),
    ({"unused": [{}]}, "is not a report of a run"),
    ({"unused": None}, "is not a report of a run"),
]


@pytest.mark.parametrize(("other", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_a_report_that_proves_nothing_is_refused(read: Read, cassette: Path, other: dict[str, Any], said: str) -> None:
    """Exit code 1, a sentence, and the cassette as it was."""
    before = cassette.read_bytes()
    ran = read("prune", cassette, "--unused", report(cassette, 1, **other), "--yes")
    assert (ran.code, cassette.read_bytes() == before) == (1, True)
    assert said in ran.err


def test_a_report_that_is_none_is_refused(read: Read, cassette: Path, tmp_path: Path) -> None:
    """Missing, or something else."""
    ran = read("prune", cassette, "--unused", tmp_path / "no.json", "--yes")
    assert (ran.code, "cannot be read" in ran.err) == (1, True)
    (tmp_path / "some.json").write_text("nonsense")
    ran = read("prune", cassette, "--unused", tmp_path / "some.json", "--yes")
    assert (ran.code, "is not JSON" in ran.err) == (1, True)


def test_of_equal_recordings_the_unused_one_goes(read: Read, cassette: Path) -> None:
    """One answer recorded twice has one id; the place tells which."""
    first, *_, second = rows(cassette)
    assert first["id"] == second["id"]
    assert read("prune", cassette, "--unused", report(cassette, 3), "--yes").code == 0
    assert [row["number"] for row in rows(cassette)] == [1, 2, 3]


def test_a_name_that_nobody_has_deletes_nothing(read: Read, cassette: Path) -> None:
    """Then the report is wrong as a whole."""
    wrong = [{"id": "ffffffff", "key": "rp1:00", "occurrence": 0, "cassette": str(cassette)}]
    ran = read("prune", cassette, "--unused", report(cassette, unused=wrong), "--yes")
    assert (ran.code, "which is not a recording of" in ran.err) == (1, True)


def test_without_a_terminal_nobody_is_asked(read: Read, cassette: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs --yes; and some choice."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    ran = read("prune", cassette, "--unused", report(cassette, 1))
    assert (ran.code, "Use --yes" in ran.err) == (2, True)
    ran = read("prune", cassette, "--yes")
    assert (ran.code, "--unused REPORT, or --where SQL" in ran.err) == (2, True)
    assert len(rows(cassette)) == 4
