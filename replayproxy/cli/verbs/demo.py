"""What `demo` does: the main job, end to end, on this machine, without a model.

    record    client -> record -> simulate
    replay    client -> replay                twice: as fast as possible, and at the recorded pace

The servers are those of the public API, each with a thread and a loop of its own. What the client received is compared
byte by byte, chunk by chunk and by time.

The bytes of a replay must always be right. Its times depend on what else the machine does: being late is a warning, and
an error with `--strict` only.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from replayproxy.api.server import record, replay, simulate
from replayproxy.cassette.checking.verify import verify
from replayproxy.cli.terminal.screen import Line, Screen, Span, on_stderr
from replayproxy.core.stats import Summary, summarise
from replayproxy.lifetime import on_loop, own_process
from replayproxy.model import Request, Response
from replayproxy.net.clock import SystemClock
from replayproxy.net.response_collector import ResponseCollector
from replayproxy.net.upstream import HttpUpstream
from replayproxy.views.units import plural

STREAMS = 16
ATTEMPTS = 3
"""Replays at the recorded pace: a machine that does something else meanwhile is late."""

ON_TIME = 5.0
"""Milliseconds at the 99th percentile: what the demo calls the same times."""


@dataclass(frozen=True, slots=True)
class Round:
    """What the client received in one round, and how long the round took, in ns."""

    answers: list[Response]
    duration: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What the demo shows, whether it holds (None: all but the times), and the measurement."""

    words: str
    holds: bool | None
    measured: str


def rehearse(cassette: Path) -> list[Claim]:
    """Record onto this cassette, replay it twice, compare."""
    own_process()
    say = on_stderr().line
    say(f"1/4  recording {STREAMS} streams at once from a simulated vLLM, through the proxy …")
    with (
        simulate("demo", ttft=0.15, itl=0.025, jitter=0.3, seed=7, answer_length="max", max_num_seqs=STREAMS) as server,
        record(cassette, upstream=server.url, probe=False) as proxy,
    ):
        recorded = _send_all(proxy.url)
    say("2/4  the server is gone; replaying as fast as possible …")
    with replay(cassette) as proxy:
        fast = _send_all(proxy.url)
    say("3/4  replaying at the recorded pace …")
    paced, lateness = _replay_paced(cassette, recorded)
    for _ in range(1, ATTEMPTS):
        if lateness is None or lateness.p99 <= ON_TIME:
            break
        say(f"     p99 {lateness.p99:.1f} ms late: this machine is busy; once more …")
        paced, lateness = _replay_paced(cassette, recorded)
    say("4/4  reading the cassette again …")
    _, problems = verify(cassette)
    live, at_pace, at_max = (part.duration / 1e9 for part in (recorded, paced, fast))
    return [
        _same("same status and bytes", recorded, fast, paced, lambda answer: (answer.status, answer.body)),
        _same("same chunk boundaries", recorded, fast, paced, lambda answer: answer.cuts),
        _on_time(lateness),
        Claim(
            "no waiting at --speed max",
            True if fast.duration * 5 < recorded.duration else None,
            f"{live:.2f} s live, {at_pace:.2f} s at speed 1, {at_max:.2f} s at max",
        ),
        Claim("cassette as written", not problems, _size(cassette, recorded)),
    ]


def _on_time(lateness: Summary | None) -> Claim:
    words = f"same times, {ON_TIME:g} ms at p99"
    if lateness is None:
        return Claim(words, False, "nothing was played")
    measured = f"p50 {lateness.p50:.2f} ms, p99 {lateness.p99:.2f} ms, max {lateness.max:.2f} ms"
    return Claim(words, True if lateness.p99 <= ON_TIME else None, measured)


def print_claims(claims: Sequence[Claim], screen: Screen) -> None:
    """Print a table of at most 80 columns, on a terminal or not."""
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


def _replay_paced(cassette: Path, recorded: Round) -> tuple[Round, Summary | None]:
    """One replay at the recorded pace, and how late it was."""
    with replay(cassette, speed=1) as proxy:
        paced = _send_all(proxy.url)
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


def _send_all(url: str) -> Round:
    """Send all requests at once, and collect the answers."""
    return on_loop(_round(url))


async def _round(url: str) -> Round:
    clock = SystemClock()
    source = HttpUpstream(url, clock)
    started = clock.now()
    answers = await asyncio.gather(*(_answer(source, request) for request in _requests()))
    duration = clock.now() - started
    source.close()
    clock.close()
    return Round(answers, duration)


async def _answer(source: HttpUpstream, request: Request) -> Response:
    collector = ResponseCollector()
    await source.play(request, collector)
    return collector.response


# What is compared


def _same(words: str, recorded: Round, fast: Round, paced: Round, part: Callable[[Response], object]) -> Claim:
    expected = [part(answer) for answer in recorded.answers]
    differ = sum(
        part(answer) != right
        for replayed in (fast, paced)
        for answer, right in zip(replayed.answers, expected, strict=True)
    )
    total = sum(len(answer.cuts) for answer in recorded.answers)
    what = f"{plural(differ, 'difference')}" if differ else "no difference"
    return Claim(words, differ == 0, f"{len(expected)} answers, {total} chunks, twice: {what}")


def _lateness(recorded: Round, paced: Round) -> Summary | None:
    """How far each chunk came from its recorded time, in ms, both as the client saw them."""
    return summarise(
        abs(now - then) / 1e6
        for live, again in zip(recorded.answers, paced.answers, strict=True)
        for then, now in zip(live.timeline.chunks, again.timeline.chunks, strict=False)
    )


def _size(cassette: Path, recorded: Round) -> str:
    bodies = sum(len(answer.body) for answer in recorded.answers)
    return f"{bodies / 1024:.0f} KiB of answers in {cassette.stat().st_size / 1024:.0f} KiB"
