"""Tests of `cli/terminal/exchange_parts`: `replayproxy show --print`, like httpie."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from replayproxy.model import Chunk, Head, Request
from tests.cli.tapes import JSON, MS, STREAM, Read, Watch, answer, asked, chat, delta, on_terminal, piece, writing
from tests.processes import environment


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A cassette with a chat of two words."""
    path = tmp_path / "one.cassette"
    with writing(path) as keep:
        keep(chat("x", words=["Hi", " you"], usage=None))
    return path


HEAD = "POST /v1/chat/completions HTTP/1.1\nContent-Type: application/json\n"
BODY = '{"model":"tiny","messages":[{"role":"user","content":"x"}],"stream":true}\n'
ANSWER = "HTTP/1.1 200\nContent-Type: text/event-stream\n"

PARTS = [
    ("H", HEAD),
    ("B", BODY),
    ("h", ANSWER),
    ("HB", HEAD + "\n" + BODY),
    ("hBH", HEAD + "\n" + BODY + "\n" + ANSWER),  # in the order they happened
]


@pytest.mark.parametrize(("letters", "text"), PARTS)
def test_parts(read: Read, one: Path, letters: str, text: str) -> None:
    """Any of them, in the order they happened."""
    assert read("show", one, "--print", letters).out == text


def test_every_chunk_with_its_time(read: Read, one: Path) -> None:
    """What it says, in quotes; or what it is, where it says nothing."""
    lines = read("show", one, "--print", "t").out.splitlines()
    assert lines[:3] == [
        "#      AT      GAP  BYTES  SAYS",
        '1  100 ms        -     91  "Hi"',
        '2  120 ms  20.0 ms     93  " you"',
    ]
    assert lines[3].startswith('3  121 ms   1.0 ms     81  data: {"choices":[{"index":0,"delta":{},"finish_reason"')


def test_chunks_as_rows(read: Read, one: Path) -> None:
    """--csv is one row a chunk, to plot."""
    rows = list(csv.DictReader(io.StringIO(read("show", one, "--csv").out)))
    assert [(row["chunk"], row["at_s"], row["gap_s"], row["bytes"], row["text"]) for row in rows[:2]] == [
        ("1", "0.1", "", "91", "Hi"),
        ("2", "0.12", "0.02", "93", " you"),
    ]


def test_all_fields(read: Read, one: Path) -> None:
    """m: every column of v_exchange, a line each."""
    fields = dict(line.split(None, 1) for line in read("show", one, "--print", "m").out.splitlines() if " " in line)
    assert (fields["model"], fields["chunks"], fields["finish"]) == ("tiny", "3", "stop")


def test_json_is_spread_out_on_a_terminal_only(watch: Watch, one: Path) -> None:
    """A pipe gets the body as it was."""
    assert '  "model": "tiny",\n' in watch(120, "show", one, "--print", "B")[1]


def test_raw_gives_the_bytes(tmp_path: Path) -> None:
    """Exactly, into a pipe or a file."""
    path, target, content = tmp_path / "raw.cassette", tmp_path / "out", b"\x1b[2J\xff\x00\r\n"
    with writing(path) as keep:
        keep(answer(Request("POST", "/v1/audio", JSON, b"\x9b"), content, fields=(("vary", "\xe9"),)))
    command = [sys.executable, "-m", "replayproxy", "show", str(path), "--raw", "--print"]
    piped = subprocess.run([*command, "HBhb"], capture_output=True, env=environment(), check=True).stdout
    assert (
        piped
        == b"POST /v1/audio HTTP/1.1\r\nContent-Type: application/json\r\n\r\n\x9bHTTP/1.1 200\r\nvary: \xe9\r\n\r\n"
        + content
    )
    subprocess.run([*command, "b", "-o", str(target)], env=environment(), check=True)
    assert target.read_bytes() == content


def test_raw_is_not_for_terminals(one: Path) -> None:
    """It could take the terminal over."""
    code, said = on_terminal(120, "show", one, "--print", "b", "--raw")
    assert (code, "could take over this terminal" in said, "data:" in said) == (2, True, False)


def test_a_body_that_is_no_text(read: Read, tmp_path: Path) -> None:
    """Is named, not printed."""
    path = tmp_path / "binary.cassette"
    with writing(path) as keep:
        keep(answer(asked("x"), b"\xff\x00" * 600))
    assert read("show", path, "--print", "b").out == "(1.2 KiB that are no text; --raw > FILE writes them)\n"
    assert read("show", path).out.endswith("a body of 1.2 KiB that is no text; --print b --raw > FILE writes it\n")


def test_a_chunk_may_complete_no_event(read: Read, tmp_path: Path) -> None:
    """Its text comes with the chunk that completes it."""
    path, event = tmp_path / "cut.cassette", delta("Hi")
    with writing(path) as keep:
        keep(piece(asked("x"), Head(0, 200, STREAM), [Chunk(MS, event[:9]), Chunk(2 * MS, event[9:] + event)], 2 * MS))
    lines = read("show", path, "--print", "t").out.splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ['{"o', '"HiHi"']


MISTAKES = [
    (("--print", "x"), "there is no part 'x'; parts are H B h b t m"),
    (("--print", "b", "--json"), "--print chooses parts for people"),
    (("--raw",), "--raw goes with --print"),
    (("--raw", "--print", "t"), "--raw goes with --print"),
]


@pytest.mark.parametrize(("flags", "sentence"), MISTAKES)
def test_mistakes(read: Read, one: Path, flags: tuple[str, ...], sentence: str) -> None:
    """Exit code 2 and what to do."""
    ran = read("show", one, *flags)
    assert (ran.code, ran.out, sentence in ran.err) == (2, "", True)
