"""Bytes of an export: unchanged into a pipe, visible on a terminal."""

from __future__ import annotations

import io

from replayproxy.cli.terminal.byte_stream import VisibleBytes, byte_stream


def test_a_pipe_gets_the_bytes() -> None:
    """After what was written to the text stream before."""
    binary = io.BytesIO()
    stream = io.TextIOWrapper(binary, "utf-8")
    stream.write("before ")
    byte_stream(stream).write(b"\x1b\xff")
    assert binary.getvalue() == b"before \x1b\xff"


def test_a_terminal_gets_escapes() -> None:
    """Also where a character is cut; line ends and tabs stay."""
    terminal = io.StringIO()
    visible = VisibleBytes(terminal)
    for place in range(len(text := "é\x1b[2J\n\t日\x9b".encode())):
        assert visible.write(text[place : place + 1]) == 1
    assert terminal.getvalue() == "é\\x1b[2J\n\t日\\x9b"
