"""What a hostile file costs a process of its own: its peak of memory (VmHWM) and its CPU time."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgpack
import pytest
import zstandard

from replayproxy.cassette import bundles
from tests.processes import environment
from tests.recordings import chats, record

MEASURED = """
import resource, sys
from replayproxy.cli.main import main
try:
    main(sys.argv[1:])
finally:
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("measured", status["VmHWM"].split()[0], used.ru_utime + used.ru_stime, file=sys.stderr)
"""

MOST_KILOBYTES = 200 * 1024
"""They take 32 to 150 MB."""
MOST_SECONDS = 5.0
"""Of CPU time. Without load they take 0.3 to 1.3; a machine whose caches others use too takes twice that."""


def packed(*parts: object) -> bytes:
    """An answer in a frame."""
    return b"\0" + zstandard.compress(msgpack.packb(parts))[4:]


LONG = 60_000_000
"""Bytes: just below what one answer may unpack to out of proportion."""

ANSWERS: dict[str, tuple[bytes, int]] = {
    "12 GB": (packed([], 0, [200_000_000], bytes(200_000_000)), 10),
    "4 million fields": (packed([["", ""]] * 4_000_000, 0, [], b""), 0),
    "16 000 fields": (packed([["a", ""]] * 16_000, 0, [], b""), 0),
    "many events": (packed([], 0, [LONG], (b"data: {}\n" * (LONG // 9 + 1))[:LONG]), LONG),
    "a long line": (packed([], 0, [LONG], b"a" * LONG), LONG),
    "a long body of JSON": (packed([["content-type", "application/json"]], 0, [LONG], b"[" * LONG), LONG),
}
"""An answer that stands in each of 60 rows, and how long its row says that it is."""


def hostile(path: Path, name: str) -> Path:
    """A file of about half a megabyte."""
    record(path, chats(60))
    answer, size = ANSWERS[name]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        bundles.scatter(connection)
        connection.execute("UPDATE answer SET answer = ?", (answer,))
        connection.execute("UPDATE exchange SET response_size = ?", (size,))
    assert path.stat().st_size < 1_500_000
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="where there is no /proc nobody counts so")
@pytest.mark.parametrize(
    ("verb", "name"),
    [
        *(("verify", name) for name in ANSWERS if name != "a long line"),
        ("verify --secrets", "a long line"),
        ("redact", "many events"),
        ("merge", "a long body of JSON"),
    ],
)
def test_a_hostile_file_costs_200_mb_and_seconds(tmp_path: Path, verb: str, name: str) -> None:
    """And ends with 6, whoever reads it."""
    path = hostile(tmp_path / "a.cassette", name)
    verb, *flags = verb.split()
    files = [tmp_path / "merged", path] if verb == "merge" else [path]
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, verb, *flags, *files],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert ran.returncode == 6, ran.stdout + ran.stderr
    kilobytes, seconds = ran.stderr.rpartition("measured")[2].split()
    assert int(kilobytes) < MOST_KILOBYTES
    assert float(seconds) < MOST_SECONDS
