"""Tests of `config`: what it prints, and its exit code."""

from __future__ import annotations

from pathlib import Path

from tests.cli.tapes import Read


def test_a_file_that_is_right(read: Read, tmp_path: Path) -> None:
    """Its sections are counted; the file may also be that of --config."""
    file = tmp_path / "c.yaml"
    file.write_text("record: {port: 1, drain: 1s}\nls: {sort: id}\n")
    ran = read("config", "check", file)
    assert ran == (0, f"{file} is right: record (2 keys), ls (1 key)\n", "")
    assert read("--config", file, "config", "check") == ran


def test_mistakes_are_lines_and_the_exit_code_is_two(read: Read, tmp_path: Path) -> None:
    """Each with the file; nothing on stdout."""
    file = tmp_path / "c.yaml"
    file.write_text("record: {prot: 1}\nnope: {}\n")
    for words in (("config", "check", file), ("--config", file, "config", "check")):
        ran = read(*words)
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 2)
        assert all(str(file) in line for line in ran.err.splitlines())
    assert read("config", "check").code == 2
    assert "cannot be read" in read("config", "check", tmp_path / "missing.yaml").err


def test_an_example_is_printed_or_written(read: Read, tmp_path: Path) -> None:
    """And is right as it stands."""
    file = tmp_path / "example.yaml"
    assert read("config", "example", "record", "-o", file).code == 0
    assert read("config", "example", "record").out == file.read_text()
    assert read("config", "check", file).code == 0
