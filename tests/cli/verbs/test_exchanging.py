"""`export` and `import`: what they say, what they exit with, where their output goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.formats.table import FORMATS
from tests.api.test_exporting import leaky
from tests.cli.tapes import Read, Watch, chat, writing
from tests.formats.files import nature_of
from tests.formats.test_har import archive, entry


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """Two chats."""
    path = tmp_path / "chat.cassette"
    with writing(path) as keep:
        keep(chat("hello"), chat("again", started=1000))
    return path


def test_a_round_trip_by_files(read: Read, chats: Path, tmp_path: Path) -> None:
    """Each says in one line what it did."""
    ran = read("export", chats, "--to", "jsonl", "-o", tmp_path / "a.jsonl")
    assert (ran.code, ran.out, ran.err) == (0, "", f"{tmp_path / 'a.jsonl'}: 2 exchanges as jsonl\n")
    ran = read("import", tmp_path / "b.cassette", tmp_path / "a.jsonl")
    assert (ran.code, ran.out, ran.err) == (0, "", f"{tmp_path / 'b.cassette'}: 2 exchanges from jsonl (1 file)\n")
    assert nature_of(tmp_path / "b.cassette") == nature_of(chats)


@pytest.mark.parametrize(
    "each", [each for each in FORMATS if each.write and not each.extra], ids=lambda each: each.name
)
def test_every_format_goes_to_stdout_and_to_a_file(each: object, read: Read, chats: Path, tmp_path: Path) -> None:
    """The same bytes; on stderr, what the format cannot hold."""
    name = getattr(each, "name", "")
    printed = read("export", chats, "--to", name)
    assert printed.code == 0
    assert read("export", chats, "--to", name, "-o", tmp_path / "file").code == 0
    assert (tmp_path / "file").read_text("utf-8") == printed.out
    assert f"2 exchanges as {name}" in printed.err


def test_an_import_says_what_was_lost(read: Read, tmp_path: Path) -> None:
    """What the times are worth, the parts that are not there, what was left out."""
    (tmp_path / "a.har").write_text(archive(entry(), entry(_webSocketMessages=[])))
    ran = read("import", tmp_path / "b.cassette", tmp_path / "a.har")
    assert ran.code == 0
    assert ran.err.splitlines() == [
        f"{tmp_path / 'b.cassette'}: 1 exchange from har (1 file)",
        "  beat: ends (1 exchange): the source has only when an answer began and ended",
        "  lost by the source: session, token ids",
        "  left out: a WebSocket (1)",
    ]
    assert "imported" in read("info", tmp_path / "b.cassette", "--json").out


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["export", "{chats}"], 2, "name a format with --to: jsonl, parquet"),
        (["export", "{chats}", "--to", "jsnol"], 2, "did you mean jsonl?"),
        (["export", "{chats}", "--to", "jsonl", "-o", "{chats}"], 2, "is the cassette itself"),
        (["export", "{chats}", "--to", "jsonl", "--where", "x ="], 2, "this SQL cannot be run"),
        (["export", "{missing}", "--to", "jsonl"], 2, "missing"),
        (["import", "{out}", "{missing}"], 1, "missing cannot be read: No such file"),
        (["import", "{chats}", "{har}"], 2, "is a cassette, and a cassette is never replaced"),
        (["import", "{out}", "{har}", "--from", "curl"], 2, "there is no format 'curl'"),
        (["import", "{out}", "{har}", "--from", "jsonl"], 1, "cannot be imported"),
        (["import", "{har}", "{har}"], 2, "is the cassette itself"),
        (["import", "{out}", "{chats}"], 1, "is in none of the formats"),
    ],
)
def test_mistakes_are_sentences(
    words: list[str], code: int, what: str, read: Read, chats: Path, tmp_path: Path
) -> None:
    """With the exit code that the documentation gives, and nothing written."""
    (tmp_path / "a.har").write_text(archive(entry()))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    places = {"chats": chats, "missing": tmp_path / "missing", "out": tmp_path / "out", "har": tmp_path / "a.har"}
    ran = read(*(word.format_map(places) for word in words))
    assert ran.code == code, ran.err
    assert what in ran.err
    assert "Traceback" not in ran.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_strict_is_exit_code_5_where_something_was_left_out(read: Read, tmp_path: Path) -> None:
    """And 0 where nothing was."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("x" * 40_000))
    assert read("export", path, "--to", "csv", "--strict").code == 5
    assert read("export", path, "--to", "jsonl", "--strict").code == 0


def test_a_recording_moves_nothing_on_a_terminal(watch: Watch, tmp_path: Path) -> None:
    """Control characters of a text become escapes."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("a\x1b]52;c;AAAA\x07b\x9bc"))
    code, text = watch(80, "export", path, "--to", "csv")
    assert code == 0
    assert r"a\x1b]52;c;AAAA\x07b\x9bc" in text
    assert "\x1b]52" not in text


def test_a_damaged_cassette_is_exit_code_6(read: Read, chats: Path, tmp_path: Path) -> None:
    """And no file is written."""
    content = bytearray(chats.read_bytes())
    content[4096:8192] = bytes(4096)
    chats.write_bytes(content)
    ran = read("export", chats, "--to", "jsonl", "-o", tmp_path / "a.jsonl")
    assert ran.code == 6
    assert not (tmp_path / "a.jsonl").exists()


def test_an_old_cassette_with_a_secret_can_be_exported_for_oneself(read: Read, tmp_path: Path) -> None:
    """Only what is made to be shown is refused."""
    assert read("export", leaky(tmp_path / "a.cassette"), "--to", "jsonl").code == 0
