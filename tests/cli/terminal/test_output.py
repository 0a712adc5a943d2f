"""Tests of `cli/output`: the family of formats that all reading verbs share."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.tapes import Read, chat, writing
from tests.processes import environment

EVIL = 'm",\t\n\x1b[31m\x9b\u202e=1+1'

VERBS = ("ls", "stats", "info", "show")


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A model's name with everything that a format has to spell."""
    path = tmp_path / "evil.cassette"
    with writing(path) as keep:
        keep(chat(model=EVIL), chat("again", started=1000))
    return path


@pytest.mark.parametrize("verb", VERBS)
def test_json_is_json(read: Read, mixed: Path, verb: str) -> None:
    """An array of rows, or one object where there is one thing; --nl says the same a line."""
    whole, lines = read(verb, mixed, "--json"), read(verb, mixed, "--nl")
    assert (whole.code, whole.err, lines.code, lines.err) == (0, "", 0, "")
    value = json.loads(whole.out)
    assert [json.loads(line) for line in lines.out.splitlines()] == (value if isinstance(value, list) else [value])


@pytest.mark.parametrize("verb", VERBS)
def test_csv_and_tsv_say_the_same(read: Read, mixed: Path, verb: str) -> None:
    """With a line of headings, or without."""
    comma, tab = read(verb, mixed, "--csv").out, read(verb, mixed, "--tsv").out
    rows = list(csv.reader(io.StringIO(comma)))
    assert rows == [line.split("\t") for line in tab.splitlines()]
    assert len({len(row) for row in rows}) == 1
    assert read(verb, mixed, "--tsv", "--no-headers").out.splitlines() == tab.splitlines()[1:]


def test_rows_have_the_same_fields_in_every_format(read: Read, mixed: Path) -> None:
    """And the same values."""
    rows: list[dict[str, Any]] = json.loads(read("ls", mixed, "--json").out)
    table = list(csv.DictReader(io.StringIO(read("ls", mixed, "--csv").out)))
    assert [list(row) for row in rows] == [list(row) for row in table]
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows] == table


def test_seconds_are_floats(read: Read, mixed: Path) -> None:
    """Units are for people."""
    first = json.loads(read("ls", mixed, "--nl", "--where", "status = 200", "-n", "7").out.splitlines()[0])
    assert (first["ttft_s"], first["total_s"], first["recorded_at"]) == (0.1, 0.141, "2026-11-18T11:06:40.000Z")


def test_an_empty_result_is_still_in_its_format(read: Read, empty: Path) -> None:
    """An empty array, a heading without rows."""
    assert read("ls", empty, "--json").out == "[]\n"
    assert read("ls", empty, "--nl").out == ""
    assert read("ls", empty, "--csv").out.startswith("number,id,")
    assert read("stats", empty, "--json").out == "[]\n"


def test_control_characters_survive_only_in_json(read: Read, evil: Path) -> None:
    """As escapes of JSON, so that the value is the same; elsewhere as text that can be seen."""
    names = [row["model"] for row in json.loads(read("ls", evil, "--json").out)]
    assert names == [EVIL, "tiny"]
    for verb in VERBS:
        for form in ("--json", "--nl", "--csv", "--tsv", "--table"):
            ran = read(verb, evil, form)
            assert not set(ran.out + ran.err) & set("\x1b\x9b\u202e\x07\r"), (verb, form)
    rows = list(csv.DictReader(io.StringIO(read("ls", evil, "--csv").out)))
    assert rows[0]["model"] == r'm",\t\n\x1b[31m\x9b\u202e=1+1'


def test_into_a_file(read: Read, mixed: Path, tmp_path: Path) -> None:
    """-o writes the same as a pipe gets; `-` is stdout."""
    for verb in VERBS:
        for form in ("--json", "--tsv", "--table"):
            target = tmp_path / f"{verb}{form}"
            assert read(verb, mixed, form, "-o", target).out == ""
            assert target.read_text() == read(verb, mixed, form, "-o", "-").out


def test_a_cassette_is_never_written_over(read: Read, mixed: Path, tmp_path: Path) -> None:
    """Nor under another name."""
    other = tmp_path / "link"
    other.symlink_to(mixed)
    before = mixed.read_bytes()
    for target in (mixed, other):
        ran = read("ls", mixed, "--json", "-o", target)
        assert (ran.code, "is a cassette, and a cassette is never replaced" in ran.err) == (2, True)
    assert mixed.read_bytes() == before


def test_a_file_that_cannot_be_written(read: Read, mixed: Path, tmp_path: Path) -> None:
    """A sentence with the reason."""
    ran = read("ls", mixed, "-o", tmp_path / "no" / "where")
    assert ran.code == 2
    assert "cannot be written: No such file or directory" in ran.err


def test_whoever_has_seen_enough_may_leave(tmp_path: Path) -> None:
    """`| head -1` is no error: exit code 0, and nothing on stderr."""
    path = tmp_path / "long.cassette"
    with writing(path) as keep:
        keep(*(chat(f"{number}", started=number) for number in range(600)))
    for flags in (["ls", "--table"], ["ls", "--json"], ["show", "--print", "b", "--raw"]):
        with subprocess.Popen(
            [sys.executable, "-m", "replayproxy", flags[0], str(path), *flags[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        ) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            said = process.stderr.read().decode()
        assert process.returncode == 0, said
        assert "Traceback" not in said
        assert "BrokenPipe" not in said


def test_data_is_utf8_whatever_the_terminal(mixed: Path) -> None:
    """And a table for a terminal that has no thin space is a table all the same."""
    latin = {**environment(), "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    said = {}
    for form in ("--json", "--table"):
        command = [sys.executable, "-m", "replayproxy", "ls", str(mixed), form]
        ran = subprocess.run(command, capture_output=True, env=latin, check=True)
        said[form] = ran.stdout
    assert len(json.loads(said["--json"].decode("utf-8"))) == 8
    assert b"1?842" in said["--table"]
