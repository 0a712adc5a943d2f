"""How true `simulate` is to the latencies it is given, and how many streams it bears, beside guidellm's mock server.

    accuracy   1, 16 and 128 streams: TTFT and TPOT that a client measures, against what was asked
    crowd      more and more streams at 20 tokens per second, until p99 of the lateness of a token is above 50 ms

    python -m tests.bench simulate                                   both
    GUIDELLM=/path/to/guidellm python -m tests.bench simulate        and the same crowd at `guidellm mock-server`
    STREAMS=10000 python -m tests.bench simulate                     up to so many streams
    TWIN=real.cassette python -m tests.bench simulate                and how well half of it predicts the rest
    chrt -r 1 python -m tests.bench simulate                         on a machine where something else runs

A client's clock starts when it sends its request, so what it measures holds both trips over the loopback and its own
waiting: all clients share one core.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import orjson

from replayproxy.core.stats import percentile
from replayproxy.net.http_server import free_socket
from replayproxy.recorded_traffic import read_traffic
from replayproxy.simulator.recorded_times import held_out_by_load
from tests.bench.crowd import Answer, Plan
from tests.bench.processes import crowd, on, port_of, process, server_core
from tests.bench.report import Verdict, table
from tests.processes import running

PATH = "/v1/completions"

TTFT, ITL = 200.0, 20.0
"""Milliseconds that are asked for."""

TOKENS = 64

ACCURATE = (1, 16, 128)

RATE = 20
"""Tokens per second of a stream in the crowd."""

CROWD_SECONDS = 10

CROWDS = (250, 500, 1000, 2000, 3500, 5000, 7500, 10_000)

LOADS = (2, 6, 100)
"""Requests at once, up to which a load goes: alone, a few, many."""

MEDIAN_ERROR, P99_ERROR = 10.0, 25.0
"""Percent."""

MOCK_READY_SECONDS = 180
"""guidellm's mock server imports PyTorch and transformers: 10 s on an empty machine, a minute on a busy one."""

OURS, THEIRS = "replayproxy simulate", "guidellm mock-server"

LATE = 50.0
"""Milliseconds at p99: with more, streams are not held at their rate."""


@dataclass(frozen=True, slots=True)
class Crowded:
    """What became of so many streams."""

    streams: int
    tokens: int
    seconds: float
    cpu: float
    lateness: list[float]
    """Milliseconds behind the time of each token, smallest first; the time of the first one is each stream's zero."""

    @property
    def p99(self) -> float:
        """Milliseconds."""
        return percentile(self.lateness, 99)

    @property
    def by_token(self) -> float:
        """Microseconds of the server's CPU."""
        return 1e6 * self.cpu / max(1, self.tokens)

    def row(self, server: str) -> tuple[str, ...]:
        """For the table."""
        rate = self.tokens / self.seconds / self.streams
        held = "yes" if self.p99 <= LATE else "no"
        return (
            server,
            str(self.streams),
            f"{rate:.1f}",
            f"{self.by_token:.1f}",
            f"{percentile(self.lateness, 50):.1f}",
            f"{self.p99:.1f}",
            f"{self.lateness[-1]:.0f}",
            held,
        )


def measure(folder: Path) -> list[Verdict]:
    """Print both tables."""
    twin = os.environ.get("TWIN")
    return [*_accuracy(), *_crowds(folder), *(_twin(Path(twin)) if twin else ())]


# Twin


def _twin(cassette: Path) -> list[Verdict]:
    """Every second request of a recording predicts the others: medians and 99th percentiles, at three loads."""
    loads = held_out_by_load(read_traffic(cassette).requests, LOADS)
    if len(loads) < len(LOADS):
        raise RuntimeError(f"{cassette} has no streams at {', '.join(map(str, LOADS))} requests at once: record them")
    rows: list[tuple[str, ...]] = []
    verdicts: list[Verdict] = []
    for load in loads:
        at = f"{load.least} to {load.most}"
        for error in load.errors:
            recorded, predicted = (f"{value / 1e6:.2f}" for value in (error.recorded, error.predicted))
            rows.append((at, str(load.requests), error.name, recorded, predicted, f"{error.relative:+.1%}"))
            bound = MEDIAN_ERROR if error.name.endswith("median") else P99_ERROR
            promise = f"twin: {error.name} at {at} requests"
            verdicts.append(Verdict(promise, 100 * abs(error.relative), bound, unit="%", counted=False))
    title = f"Half of {cassette.name} predicts the other half; milliseconds"
    print(table(title, ("requests at once", "predicted", "", "recorded", "as predicted", "error"), rows))
    return verdicts


# Accuracy


def _accuracy() -> list[Verdict]:
    rows: list[tuple[str, ...]] = []
    verdicts: list[Verdict] = []
    flags = ("--ttft", f"{TTFT:g}ms", "--itl", f"{ITL:g}ms", "--max-num-seqs", "1000")
    with _simulator(*flags) as (port, *_):
        for streams in ACCURATE:
            answers = crowd(Plan(port, PATH, _bodies(3 * streams, TOKENS), streams, keep_times=True)).answers
            firsts, gaps = _latencies(answers, TOKENS)
            for name, asked, found in (("TTFT", TTFT, firsts), ("TPOT", ITL, gaps)):
                median, bound = percentile(found, 50), max(0.03 * asked, 1.0)
                rows.append(
                    (name, str(streams), f"{asked:g}", f"{median:.2f}", f"{percentile(found, 99):.2f}", f"{bound:g}")
                )
                verdicts.append(
                    Verdict(
                        f"simulate: {name} at {streams} streams, |median - asked|",
                        abs(median - asked),
                        bound,
                        unit="ms",
                        counted=False,
                    )
                )
    title = f"Simulated latencies as a client measures them, {TOKENS} tokens per stream; milliseconds"
    print(table(title, ("", "streams", "asked", "median", "p99", "bound"), rows))
    return verdicts


def _latencies(answers: list[Answer], tokens: int) -> tuple[list[float], list[float]]:
    """Time to first token, and time per later token, of each answer, in ms."""
    firsts, gaps = [], []
    for answer in answers:
        if answer.status != 200 or len(answer.times) < tokens:
            raise RuntimeError(f"a stream has status {answer.status} and {len(answer.times)} chunks: {answer.refusal}")
        firsts.append(answer.times[0] / 1e6)
        gaps.append((answer.times[tokens - 1] - answer.times[0]) / 1e6 / (tokens - 1))
    return sorted(firsts), sorted(gaps)


def _bodies(number: int, tokens: int) -> list[str]:
    """Requests for so many tokens each, all different."""
    return [
        orjson.dumps(
            {
                "model": "tiny",
                "prompt": f"Tell me about the number {each}.",
                "max_tokens": tokens,
                "ignore_eos": True,
                "stream": True,
            }
        ).decode()
        for each in range(number)
    ]


# Crowd


def _crowds(folder: Path) -> list[Verdict]:
    most = int(os.environ.get("STREAMS", CROWDS[-1]))
    guidellm = os.environ.get("GUIDELLM") or shutil.which("guidellm")
    rows: list[tuple[str, ...]] = []
    held: dict[str, Crowded] = {}
    flags = ("--ttft", "50ms", "--itl", f"{1000 // RATE}ms", "--max-num-seqs", "100000")
    tokens = RATE * CROWD_SECONDS
    servers: dict[str, Callable[[], AbstractContextManager[tuple[int, ...]]]] = {OURS: lambda: _simulator(*flags)}
    if guidellm is not None:
        servers[THEIRS] = lambda: _mock_server(guidellm, folder, tokens)
    for name, starting in servers.items():
        for streams in (each for each in CROWDS if each <= most):
            with starting() as (port, *pids):
                found = _crowd(port, pids, streams, tokens)
            rows.append(found.row(name))
            if found.p99 > LATE:
                break
            held[name] = found
    title = f"Streams at {RATE} tokens per second for {CROWD_SECONDS} s; lateness of a token in milliseconds"
    headings = ("server", "streams", "tokens/s each", "CPU us per token", "p50", "p99", "max", "held")
    print(table(title, headings, rows))
    if guidellm is None:
        print("guidellm is not installed (GUIDELLM=/path/to/guidellm), so there is nothing to compare with.\n")
    ours, theirs = held.get(OURS), held.get(THEIRS)
    ratio = ours.streams / theirs.streams if ours is not None and theirs is not None else None
    return [
        Verdict(
            "streams that simulate holds / guidellm mock-server", ratio, 1.0, at_least=True, why="nothing to compare",
            counted=False,
        )
    ]  # fmt: skip


def _crowd(port: int, pids: list[int], streams: int, tokens: int) -> Crowded:
    plan = Plan(
        port,
        PATH,
        _bodies(streams, tokens),
        streams,
        spread=2.0,
        window=(2.5, CROWD_SECONDS),
        watched=pids,
        keep_times=True,
    )
    heard = crowd(plan)
    gap = 1000 / RATE
    lateness = [
        (at - answer.times[0]) / 1e6 - gap * number
        for answer in heard.answers
        for number, at in enumerate(answer.times[:tokens])
    ]
    broken = [answer for answer in heard.answers if answer.status != 200 or not answer.times]
    if broken:
        raise RuntimeError(f"{len(broken)} of {streams} streams have no answer: {broken[0].refusal}")
    return Crowded(streams, heard.window_events, heard.window_seconds, sum(heard.window_cpu), sorted(lateness))


# Servers


@contextmanager
def _simulator(*flags: str) -> Iterator[tuple[int, ...]]:
    """Gives port and process id."""
    with on(server_core(), running("simulate", "--model", "tiny", "--port", "0", *flags)) as proxy:
        yield port_of(proxy.url), proxy.pid


@contextmanager
def _mock_server(program: str, folder: Path, tokens: int) -> Iterator[tuple[int, ...]]:
    """guidellm's, with one worker. Gives port and process ids."""
    with free_socket("127.0.0.1", 0) as bound:
        port = int(bound.getsockname()[1])
    command = (program, "mock-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--model", "tiny")
    latencies = ("--ttft-ms", "50", "--itl-ms", str(1000 // RATE), "--output-tokens", str(tokens))
    with (folder / "guidellm.log").open("wb") as words:
        with on(server_core(), process(*command, *latencies, stdout=words.fileno(), stderr=words)) as started:
            _await_answer(port)
            children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
            yield port, started.pid, *map(int, children)


def _await_answer(port: int) -> None:
    """Wait until it serves. Raises `RuntimeError` where it does not."""
    deadline = time.monotonic() + MOCK_READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError("guidellm mock-server did not start")
