"""How small a cassette is: three mixes of streamed chats of a real vLLM (`questions`), recorded through the proxy,
beside what compresses them.

The upstream is a vLLM with a model named `tiny`: the one at REPLAYPROXY_LIVE_UPSTREAM, or the one that
`examples/real-vllm` installs and serves.
"""

from __future__ import annotations

import base64
import lzma
import os
import sqlite3
import time
from contextlib import ExitStack
from pathlib import Path

import zstandard

from tests.bench import questions
from tests.bench.conversation import PATH
from tests.bench.crowd import Answer, Plan
from tests.bench.processes import crowd, port_of
from tests.bench.report import Verdict, table
from tests.live.server import EXAMPLE, RealVllm, install
from tests.processes import recording

STREAMS = 16
BOUND = 2.5
"""Per cent of the raw SSE bytes."""

UPSTREAM = "REPLAYPROXY_LIVE_UPSTREAM"

PARTS = {
    "requests": "SELECT total(length(request)) + (SELECT total(length(requests)) FROM bundle) FROM payload",
    "answers": "SELECT total(length(answer)) + (SELECT total(length(codes) + length(answers)) FROM bundle) FROM answer",
    "times": "SELECT total(length(times)) + (SELECT total(length(times)) FROM bundle) FROM payload",
    "their pages: row heads, unused": (
        "SELECT (SELECT sum(pgsize) FROM dbstat WHERE name IN ('payload', 'answer', 'bundle'))"
        " - (SELECT total(length(request) + length(answer) + length(times)) FROM payload JOIN answer USING (exchange))"
        " - (SELECT total(length(requests) + length(times) + length(codes) + length(answers)) FROM bundle)"
    ),
    "dictionaries": "SELECT sum(length(content)) FROM dictionary WHERE kind <> 'vocabulary'",
    "vocabulary": "SELECT sum(length(content)) FROM dictionary WHERE kind = 'vocabulary'",
    "rows and sketches (pages)": "SELECT sum(pgsize) FROM dbstat WHERE name = 'exchange'",
    "index of keys (pages)": "SELECT sum(pgsize) FROM dbstat WHERE name = 'exchange_place'",
}


def measure(folder: Path) -> list[Verdict]:
    """Print a table for each mix of chats."""
    with ExitStack() as running:
        vllm = _vllm(folder)
        running.callback(vllm.stop)
        return [_measure(folder / f"{mix.name}.cassette", vllm.url, mix) for mix in questions.MIXES]


def _measure(cassette: Path, upstream: str, mix: questions.Mix) -> Verdict:
    cassette.unlink(missing_ok=True)
    # On any core: this measures bytes, and vLLM wants both.
    with recording(cassette, upstream) as proxy:
        bodies = [body.decode() for body in questions.bodies(mix)]
        plan = Plan(port_of(proxy.url), PATH, bodies, STREAMS, keep_bodies=True)
        started = time.monotonic()
        answers = crowd(plan).answers
        took = time.monotonic() - started
    said = [_body(answer) for answer in answers]
    chunks = sum(answer.chunks - 1 for answer in answers)  # the last-chunk is none
    raw = sum(map(len, said))
    whole = cassette.stat().st_size
    rows = [
        ("raw SSE bytes", raw),
        ("zstd -3, each answer by itself", sum(len(zstandard.compress(body, 3)) for body in said)),
        ("xz -9, all answers at once", len(lzma.compress(b"".join(said), preset=9))),
        ("the cassette, everything in it", whole),
    ]
    parts = _parts(cassette)
    rows += [(f"    {name}", size) for name, size in parts]
    rows.append(("    the rest (schema, other tables)", whole - sum(size for _, size in parts)))
    title = (
        f"Size, {mix.name}: {len(answers)} streamed chats of a real vLLM, questions of {mix.words[0]} to"
        f" {mix.words[1]} words, answers of {mix.tokens[0]} to {mix.tokens[1]} tokens; {chunks} chunks,"
        f" {STREAMS} at a time, {took:.0f} s"
    )
    print(
        table(title, ("what", "bytes", "% of raw"), [(name, f"{size:,}", f"{size / raw:.2%}") for name, size in rows])
    )
    return Verdict(f"whole cassette / raw SSE bytes, {mix.name} chats", whole / raw * 100, BOUND, unit="%")


def _body(answer: Answer) -> bytes:
    """What was heard. Raises `RuntimeError` unless it is a whole chat."""
    body = b"".join(map(base64.b64decode, answer.heard))
    if not answer.whole or answer.status != 200 or not body.endswith(b"data: [DONE]\n\n"):
        raise RuntimeError(f"vLLM said {answer.status} {body[-300:]!r}")
    return body


def _parts(path: Path) -> list[tuple[str, int]]:
    """Bytes of what the file holds. Some builds of SQLite cannot count pages; then those are in the rest."""
    found = []
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    for name, sql in PARTS.items():
        try:
            found.append((name, int(connection.execute(sql).fetchone()[0] or 0)))
        except sqlite3.OperationalError:
            continue
    connection.close()
    return found


def _vllm(folder: Path) -> RealVllm:
    """The vLLM that is there, or else one of our own."""
    if url := os.environ.get(UPSTREAM):
        return RealVllm.at(url)
    print("Size: starting a real vLLM, after installing it where it is not yet (two minutes) …", flush=True)
    install()
    return RealVllm.start(EXAMPLE / "serve", folder / "vllm.log")
