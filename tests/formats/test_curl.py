"""Commands for a shell: each sends what was recorded, whatever is in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from replayproxy.formats.curl import CURL
from replayproxy.model import Request
from tests.formats.files import exported
from tests.recordings import exchange, record, said

CURL_DOUBLE = """#!/bin/sh
for word; do printf '%s\\0' "$word"; done
case " $* " in *" @- "*) cat;; esac
"""


def sent(path: Path, folder: Path) -> bytes:
    """What the script of an export gives to a `curl` that prints its arguments and its stdin."""
    (folder / "bin").mkdir()
    (folder / "bin" / "curl").write_text(CURL_DOUBLE)
    (folder / "bin" / "curl").chmod(0o755)
    environment = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}
    script = exported(path, CURL, base_url="http://h:1/")
    return subprocess.run(["/bin/sh"], input=script, capture_output=True, env=environment, check=True).stdout


@pytest.mark.parametrize(
    ("body", "given"),
    [
        (b'{"text":"it\'s $HOME `id` \\\\ \n!"}', b'--data-binary\0{"text":"it\'s $HOME `id` \\\\ \n!"}\0'),
        (b"@/etc/passwd", b"--data-binary\0@-\0@/etc/passwd"),
        (b"\x1b]52;c;AAAA\x07", b"--data-binary\0@-\0\x1b]52;c;AAAA\x07"),
        (b"\xff\xfe", b"--data-binary\0@-\0\xff\xfe"),
        ("\u202eabc".encode(), "--data-binary\0@-\0\u202eabc".encode()),
    ],
)
def test_a_body_reaches_curl_unchanged(body: bytes, given: bytes, tmp_path: Path) -> None:
    """Quotes, variables, file names, escapes of terminals, bytes that are not text."""
    request = Request("POST", "/v1/x?a=it's", (("Content-Type", "application/json"), ("Content-Length", "9")), body)
    path = record(tmp_path / "a.cassette", [exchange(request, said([b"ok"]))])
    expected = b"--no-buffer\0http://h:1/v1/x?a=it's\0--header\0Content-Type: application/json\0"
    assert sent(path, tmp_path) == expected + given


def test_a_command_shows_nothing_that_moves_a_cursor(tmp_path: Path) -> None:
    """Each character of the script is printable, or the end of a line."""
    hostile = Request("DELETE", "/\xff\x9b", (("Accept", "a\x9bb"),), b"\x1b[2J")
    path = record(tmp_path / "a.cassette", [exchange(hostile, said([b"ok"]))])
    script = exported(path, CURL).decode()
    assert all(line.isprintable() for line in script.split("\n"))
    assert "--request DELETE" in script
    assert "/%FF%9B" in script
