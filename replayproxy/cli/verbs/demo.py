"""What `demo` does: the main job, end to end, on this machine, without a model.

A simulated vLLM is recorded through the proxy and stopped; then the recording alone answers, as fast as possible and at
its own pace; what came out is compared byte by byte, chunk by chunk and beat by beat. Each part is a process of its
own, as it would be in earnest.

What a replay says must always be right. When it says it depends on what else the machine does: being late is a warning,
and an error with `--strict` alone.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from replayproxy.cassette.checking.verify import verify
from replayproxy.cli.terminal.screen import Line, Screen, Span, on_stderr
from replayproxy.core.stats import Summary, summarise
from replayproxy.errors import ReplayProxyError
from replayproxy.model import Request, Response
from replayproxy.net.clock import SystemClock
from replayproxy.net.response_collector import ResponseCollector
from replayproxy.net.upstream import HttpUpstream
from replayproxy.views.units import plural

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


@dataclass(frozen=True, slots=True)
class Claim:
    """What was to be proven, whether it holds (None: but for the time), and what was measured."""

    words: str
    holds: bool | None
    measured: str


async def rehearse(folder: Path, cassette: Path) -> list[Claim]:
    """Record onto this cassette, replay it twice, compare. `folder` is for the processes' own files."""
    say = on_stderr().line
    say(f"1/4  recording {STREAMS} streams at once from a simulated vLLM, through the proxy …")
    latency = ("--ttft", "150ms", "--itl", "25ms", "--jitter", "0.3", "--seed", "7")
    async with (
        _process(folder, "simulate", "--model", "demo", *latency) as server,
        _process(folder, "record", str(cassette), "--upstream", server) as proxy,
    ):
        recorded = await _ask_all(proxy)
    say("2/4  the server is gone; replaying as fast as possible …")
    async with _process(folder, "replay", str(cassette)) as proxy:
        fast = await _ask_all(proxy)
    say("3/4  replaying at the recorded pace …")
    paced, lateness = await _paced(folder, cassette, recorded)
    for _ in range(1, ATTEMPTS):
        if lateness is None or lateness.p99 <= ON_TIME:
            break
        say(f"     p99 {lateness.p99:.1f} ms late: this machine is busy; once more …")
        paced, lateness = await _paced(folder, cassette, recorded)
    say("4/4  reading the cassette again …")
    _, problems = verify(cassette)
    took = f"{recorded.took / 1e9:.2f} s live, {paced.took / 1e9:.2f} s at speed 1, {fast.took / 1e9:.2f} s at max"
    return [
        _same("same status and bytes", recorded, fast, paced, lambda answer: (answer.status, answer.body)),
        _same("same chunk boundaries", recorded, fast, paced, lambda answer: answer.cuts),
        _on_time(lateness),
        Claim("no waiting at --speed max", True if fast.took * 5 < recorded.took else None, took),
        Claim("cassette as written", not problems, _size(cassette, recorded)),
    ]


def _on_time(lateness: Summary | None) -> Claim:
    words = f"same times, {ON_TIME:g} ms at p99"
    if lateness is None:
        return Claim(words, False, "nothing was played")
    measured = f"p50 {lateness.p50:.2f} ms, p99 {lateness.p99:.2f} ms, max {lateness.max:.2f} ms"
    return Claim(words, True if lateness.p99 <= ON_TIME else None, measured)


def tell(claims: Sequence[Claim], screen: Screen) -> None:
    """A table that fits 80 columns, wherever it goes."""
    marks = {True: Span("yes ", "green"), False: Span("NO  ", "bold red"), None: Span("late", "yellow")}
    screen.line()
    for claim in claims:
        screen.line(marks[claim.holds], f"  {claim.words:<25}  ", claim.measured)
    if any(claim.holds is None for claim in claims):
        screen.line()
        screen.line("late: this machine is busy with something else. The bytes are right; for")
        screen.line("the times run it again when the machine is idle.")


def next_steps(cassette: Path) -> list[Line]:
    """What to type now, so that it can be pasted here."""
    program, name = _program(), shlex.quote(str(cassette))
    return [
        [Span("")],
        [Span("Next:  "), Span(f"{program} ls {name}", "bold")],
        [Span("       "), Span(f"{program} show {name}", "bold")],
        [Span("       "), Span(f"{program} replay {name} --speed 1", "bold")],
    ]


def _program() -> str:
    """How this program was called, if a shell finds it so: make calls `.venv/bin/replayproxy`."""
    called = Path(sys.argv[0])
    found = shutil.which("replayproxy")
    if called.stem == "replayproxy":
        if found is not None and Path(found).samefile(called):
            return "replayproxy"
        return shlex.quote(str(called))
    return f"{shlex.quote(sys.executable)} -m replayproxy"


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
    ear = ResponseCollector()
    await source.play(request, ear)
    return ear.heard


# What is compared


def _same(words: str, recorded: Heard, fast: Heard, paced: Heard, part: Callable[[Response], object]) -> Claim:
    wanted = [part(answer) for answer in recorded.answers]
    differ = sum(
        part(answer) != want for heard in (fast, paced) for answer, want in zip(heard.answers, wanted, strict=True)
    )
    total = sum(len(answer.cuts) for answer in recorded.answers)
    what = f"{plural(differ, 'difference')}" if differ else "no difference"
    return Claim(words, differ == 0, f"{len(wanted)} answers, {total} chunks, twice: {what}")


def _lateness(recorded: Heard, paced: Heard) -> Summary | None:
    """How far each chunk came from its recorded time, in ms, both as the client saw them."""
    return summarise(
        abs(now - then) / 1e6
        for live, again in zip(recorded.answers, paced.answers, strict=True)
        for then, now in zip(live.timeline.chunks, again.timeline.chunks, strict=False)
    )


def _size(cassette: Path, recorded: Heard) -> str:
    bodies = sum(len(answer.body) for answer in recorded.answers)
    return f"{bodies / 1024:.0f} KiB of answers in {cassette.stat().st_size / 1024:.0f} KiB"


# The processes


@asynccontextmanager
async def _process(folder: Path, verb: str, *arguments: str) -> AsyncIterator[str]:
    """Run a verb on a free port; gives its URL, and ends it with SIGTERM."""
    ready = folder / f"{verb}.ready"
    ready.unlink(missing_ok=True)
    serving = ("--host", "127.0.0.1", "--port", "0", "--admin-port", "off", "--ready-file", str(ready))
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
