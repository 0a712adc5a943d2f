"""`demo`: the main job, end to end, on this machine, without a model.

A simulated vLLM is recorded through the proxy and stopped; then the recording alone answers, as fast as possible and at
its own pace; what came out is compared byte by byte, chunk by chunk and beat by beat. Each part is a process of its
own, as it would be in earnest.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import orjson
from rich.console import Console
from rich.table import Table

from replayproxy.cassette.verifying import verify
from replayproxy.core.stats import Summary, summarise
from replayproxy.errors import ReplayProxyError
from replayproxy.model import Request, Response
from replayproxy.net.clock import SystemClock
from replayproxy.net.ear import Ear
from replayproxy.net.upstream import HttpUpstream

STREAMS = 16
ATTEMPTS = 3
"""Replays at pace: a machine that does something else meanwhile is late, and says so."""

ON_TIME = 5.0
"""Milliseconds at the 99th percentile: what the demo calls the same beat."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the client heard in one round, and how long the round took, in ns."""

    answers: list[Response]
    took: int


@click.command(short_help="Record, replay and compare, here and now.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the cassette in this file.")
def demo(keep: Path | None) -> int:
    """Record a simulated vLLM, stop it, replay the recording, and compare byte by byte and beat by beat.

    Needs no GPU, no model, no network; takes some fifteen seconds.

    \b
    Example:
      replayproxy demo --keep demo.cassette
      replayproxy ls demo.cassette
    """
    with tempfile.TemporaryDirectory(prefix="replayproxy-demo-") as folder:
        cassette = keep or Path(folder) / "demo.cassette"
        if cassette.exists():
            raise click.UsageError(f"{cassette} is there already: name another file for --keep")
        return asyncio.run(_demo(Path(folder), cassette))


COMMANDS = (demo,)


async def _demo(folder: Path, cassette: Path) -> int:
    say = Console(stderr=True, highlight=False)
    say.print(f"1/4  recording {STREAMS} streams at once from a simulated vLLM, through the proxy …")
    latency = ("--ttft", "150ms", "--itl", "25ms", "--jitter", "0.3", "--seed", "7")
    async with (
        _process(folder, "simulate", "--model", "demo", *latency) as server,
        _process(folder, "record", str(cassette), "--upstream", server) as proxy,
    ):
        recorded = await _ask_all(proxy)
    say.print("2/4  the server is gone; replaying as fast as possible …")
    async with _process(folder, "replay", str(cassette)) as proxy:
        fast = await _ask_all(proxy)
    say.print("3/4  replaying at the recorded pace …")
    paced, lateness = await _paced(folder, cassette, recorded)
    for _ in range(1, ATTEMPTS):
        if lateness is None or lateness.p99 <= ON_TIME:
            break
        say.print(f"     p99 {lateness.p99:.1f} ms late: this machine is busy; once more …")
        paced, lateness = await _paced(folder, cassette, recorded)
    say.print("4/4  reading the cassette again …")
    _, problems = verify(cassette)
    proven = [
        _same("status, body bytes", recorded, fast, paced, lambda answer: (answer.status, answer.body)),
        _same("chunk boundaries", recorded, fast, paced, lambda answer: answer.cuts),
        (
            f"the same beat at --speed 1 (p99 within {ON_TIME:g} ms)",
            lateness is not None and lateness.p99 <= ON_TIME,
            "-"
            if lateness is None
            else f"p50 {lateness.p50:.2f} ms   p99 {lateness.p99:.2f} ms   max {lateness.max:.2f} ms",
        ),
        (
            "no waiting at --speed max",
            fast.took * 5 < recorded.took,
            f"{recorded.took / 1e9:.2f} s live   {paced.took / 1e9:.2f} s at speed 1   {fast.took / 1e9:.3f} s at max",
        ),
        ("the cassette is what was written", not problems, _size(cassette, recorded)),
    ]
    out = Console(highlight=False)
    table = Table(title="what was proven", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "claim", "measured"):
        table.add_column(heading)
    for claim, holds, measured in proven:
        table.add_row("[green]yes[/]" if holds else "[red]NO[/]", claim, measured)
    out.print(table)
    return 0 if all(holds for _, holds, _ in proven) else 1


async def _paced(folder: Path, cassette: Path, recorded: Heard) -> tuple[Heard, Summary | None]:
    """One replay at the recorded pace, and how late it was."""
    async with _process(folder, "replay", str(cassette), "--speed", "1") as proxy:
        paced = await _ask_all(proxy)
    return paced, _lateness(recorded, paced)


# The client


def _requests() -> list[Request]:
    """Streams that differ, two that are equal, an answer in one piece, and a list."""
    fields = (("Content-Type", "application/json"), ("Accept", "*/*"))
    requests = [Request("GET", "/v1/models", fields)]
    for number in range(STREAMS):
        chat = {
            "model": "demo",
            "messages": [{"role": "user", "content": f"Tell me story number {max(1, number)}."}],
            "stream": number < STREAMS - 1,
            "max_tokens": 80 + number,
        }
        requests.append(Request("POST", "/v1/chat/completions", fields, orjson.dumps(chat)))
    return requests


async def _ask_all(url: str) -> Heard:
    clock = SystemClock()
    source = HttpUpstream(url, clock)
    started = clock.now()
    answers = await asyncio.gather(*(_ask(source, request) for request in _requests()))
    took = clock.now() - started
    source.close()
    clock.close()
    return Heard(answers, took)


async def _ask(source: HttpUpstream, request: Request) -> Response:
    ear = Ear()
    await source.play(request, ear)
    return ear.heard


# What is compared


def _same(claim: str, recorded: Heard, fast: Heard, paced: Heard, part: object) -> tuple[str, bool, str]:
    assert callable(part)
    wanted = [part(answer) for answer in recorded.answers]
    differ = sum(
        part(answer) != want for heard in (fast, paced) for answer, want in zip(heard.answers, wanted, strict=True)
    )
    total = sum(len(answer.cuts) for answer in recorded.answers)
    what = f"{len(wanted)} answers, {total} chunks, replayed twice: {differ or 'no'} difference{'s' * (differ > 1)}"
    return claim, differ == 0, what


def _lateness(recorded: Heard, paced: Heard) -> Summary | None:
    """How far each chunk came from its recorded time, in ms, both as the client saw them."""
    return summarise(
        abs(now - then) / 1e6
        for live, again in zip(recorded.answers, paced.answers, strict=True)
        for then, now in zip(live.timeline.chunks, again.timeline.chunks, strict=False)
    )


def _size(cassette: Path, recorded: Heard) -> str:
    bodies = sum(len(answer.body) for answer in recorded.answers)
    return f"{bodies / 1024:.0f} KiB of answers in a file of {cassette.stat().st_size / 1024:.0f} KiB"


# The processes


@asynccontextmanager
async def _process(folder: Path, verb: str, *arguments: str) -> AsyncIterator[str]:
    """Run a verb on a free port; gives its URL, and ends it with SIGTERM."""
    ready = folder / f"{verb}.ready"
    ready.unlink(missing_ok=True)
    serving = ("--port", "0", "--admin-port", "off", "--ready-file", str(ready))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "replayproxy", verb, *arguments, *serving), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said = (await process.stderr.readline()).decode()  # the ready line, or why there is none
    if not ready.exists():
        raise ReplayProxyError(f"`replayproxy {verb}` did not start: {said.strip() or 'it said nothing'}")
    try:
        yield str(orjson.loads(ready.read_bytes())["url"])
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()
