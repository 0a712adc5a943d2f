"""What driving a prefill/decode pair costs: requests per second and time to first token, beside a proxy of the Mooncake
guide's design and beside no proxy at all.

The pair is a double that answers at once, so that only the proxy takes time. Streamed completions of a few tokens: each
is two requests upstream. Proxy on one core, pair and clients on the other. The guide's design knows one protocol,
`plain`; replayproxy is measured with it, recording both legs, and with `nixl`, which the guide's cannot do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from subprocess import PIPE

import orjson

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.stats import percentile
from tests.bench.crowd import Plan
from tests.bench.processes import crowd, load_core, on, port_of, process, server_core
from tests.bench.report import Verdict, table
from tests.doubles.pair_model import TEXT, Answer, read
from tests.processes import running

TOKENS = 6
CLIENTS = (1, 32)
"""So many at once."""

MOST = 8000
"""Requests of a round: more than are asked."""

WINDOW = (0.5, 2.5)
"""Seconds after the start, in which requests and CPU are counted."""

ROUNDS = 3

NONE, GUIDE, PLAIN, NIXL = "no proxy, decode alone", "the guide's design", "replayproxy, plain", "replayproxy, nixl"
PROTOCOLS = {NONE: "plain", GUIDE: "plain", PLAIN: "plain", NIXL: "nixl"}

BOUND, AIM = 1.0, 2.0
"""Requests per second, as a multiple of the guide's design."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one server did with so many clients."""

    rate: float
    """Requests a second."""
    cost: float
    """Milliseconds of CPU a request; 0 where there is no proxy."""
    first: list[float]
    """Milliseconds to the first token of each request, smallest first."""


def measure(folder: Path) -> list[Verdict]:
    """Print the table. Raises `RuntimeError` where an answer was lost or not recorded with both legs."""
    rounds: dict[tuple[str, int], list[Round]] = {}
    for number in range(ROUNDS):
        for server in PROTOCOLS:
            for clients, one in _measured(server, folder, number).items():
                rounds.setdefault((server, clients), []).append(one)
    for clients in CLIENTS:
        title = f"Pair: {TOKENS} streamed tokens, {clients} at once, both legs recorded; median of {ROUNDS} rounds"
        headings = ("server", "requests/s", "x guide", "ms CPU/request", "TTFT p50 ms", "p99", "added p50", "added p99")
        rows = [_row(server, clients, rounds) for server in PROTOCOLS]
        print(table(title, headings, rows))
    many = max(CLIENTS)
    ours, theirs = rounds[PLAIN, many], rounds[GUIDE, many]
    speed = median(one.rate / other.rate for one, other in zip(ours, theirs, strict=True))
    ours, theirs = rounds[PLAIN, 1], rounds[GUIDE, 1]
    patience = median(_at(one, 50) / _at(other, 50) for one, other in zip(ours, theirs, strict=True))
    return [
        Verdict("requests/s through a pair, recording / the guide's design", speed, BOUND, AIM, at_least=True),
        Verdict("time to first token through a pair, one client / the guide's design", patience, 1.0, counted=False),
    ]


def _at(one: Round, percent: float) -> float:
    return percentile(one.first, percent)


def _row(server: str, clients: int, rounds: dict[tuple[str, int], list[Round]]) -> tuple[str, ...]:
    own, none, guide = (rounds[name, clients] for name in (server, NONE, GUIDE))
    p50, p99 = (median(_at(one, percent) for one in own) for percent in (50, 99))
    added = (
        f"{median(_at(one, percent) - _at(other, percent) for one, other in zip(own, none, strict=True)):.2f}"
        for percent in (50, 99)
    )
    ratio = median(one.rate / other.rate for one, other in zip(own, guide, strict=True))
    return (
        server,
        f"{median(one.rate for one in own):.0f}",
        f"{ratio:.2f}",
        "" if server == NONE else f"{median(one.cost for one in own):.2f}",
        f"{p50:.2f}",
        f"{p99:.2f}",
        *(("", "") if server == NONE else added),
    )


def _measured(server: str, folder: Path, number: int) -> dict[int, Round]:
    cassette = folder / "pair.cassette"
    cassette.unlink(missing_ok=True)
    asked = 0
    found: dict[int, Round] = {}
    with _pair(PROTOCOLS[server]) as (prefill, decode), ExitStack() as serving:
        port, pid = port_of(decode), 0
        if server == GUIDE:
            port, pid = serving.enter_context(_guide(prefill, decode))
        elif server != NONE:
            pair = ("--prefill", prefill, "--decode", decode, "--pd", PROTOCOLS[server])
            flags = (*pair, "--port", "0", "--admin-port", "off")
            proxy = serving.enter_context(on(server_core(), running("record", cassette, *flags)))
            port, pid = port_of(proxy.url), proxy.pid
        for clients in CLIENTS:
            bodies = [_body(f"round {number}, {clients} clients, question {place}") for place in range(MOST)]
            found[clients] = _ask(port, pid, clients, bodies)
            asked += len(found[clients].first)
    if server in (PLAIN, NIXL):
        _check(cassette, asked)
    return found


def _body(question: str) -> str:
    return orjson.dumps({"model": "tiny", "prompt": question, "max_tokens": TOKENS, "stream": True}).decode()


EVENTS = len(list(Answer.to(ask := read(TEXT, _body("how many events?").encode()), "", ask.prompts).events()))


def _ask(port: int, pid: int, clients: int, bodies: list[str]) -> Round:
    plan = Plan(
        port=port,
        path=TEXT,
        bodies=bodies,
        streams=clients,
        seconds=WINDOW[1],
        window=WINDOW,
        watched=[pid] if pid else [],
        keep_times=True,
    )
    heard = crowd(plan)
    for answer in heard.answers:
        if (answer.status, answer.whole, answer.events) != (200, True, EVENTS):
            raise RuntimeError(f"an answer came with status {answer.status} and {answer.events} of {EVENTS} events")
    if not heard.window_events:
        raise RuntimeError(f"nothing was answered within {WINDOW[1]:g} s: this machine is busy with something else")
    answered = heard.window_events / EVENTS
    return Round(
        rate=answered / heard.window_seconds,
        cost=heard.window_cpu[0] / answered * 1e3 if pid else 0,
        first=sorted(answer.times[0] / 1e6 for answer in heard.answers),
    )


def _check(path: Path, asked: int) -> None:
    with CassetteReader(path) as cassette:
        [(recorded,)] = cassette.all("SELECT count(*) FROM exchange WHERE occurrence IS NOT NULL")
        [(legs,)] = cassette.all("SELECT count(*) FROM leg")
    if (recorded, legs) != (asked, 2 * asked):
        raise RuntimeError(f"{recorded} exchanges with {legs} legs were recorded of {asked}")


@contextmanager
def _pair(protocol: str) -> Iterator[tuple[str, str]]:
    """A double; gives the URLs of its servers."""
    starting = process(sys.executable, "-m", "tests.bench.pair_servers", protocol, stdout=PIPE)
    with on(load_core(), starting) as started:
        assert started.stdout is not None
        prefill, decode = orjson.loads(started.stdout.readline())
        yield prefill, decode


@contextmanager
def _guide(prefill: str, decode: str) -> Iterator[tuple[int, int]]:
    """The guide's proxy; gives its port and process id."""
    starting = process(sys.executable, "-m", "tests.bench.guide_proxy", prefill, decode, stdout=PIPE)
    with on(server_core(), starting) as started:
        assert started.stdout is not None
        yield orjson.loads(started.stdout.readline()), started.pid
