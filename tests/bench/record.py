"""What recording costs: CPU per streamed event, beside nginx passing the same streams through.

300 streams of 40 events a second, spread evenly over the 25 ms between two events of a stream; the server on one core,
upstream and clients on the other. CPU is user and system time of the whole server process between two moments in which
all streams flow, so it holds what recording does beside forwarding: the writing thread with its compression, its
transactions and checkpoints. What comes once is kept out of it: the recording goes on where an earlier one, which
trained the dictionaries, has ended; and sealing comes after, and is printed by itself.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from replayproxy.cassette.reader import CassetteReader
from tests.bench.conversation import PATH, Chat, asked
from tests.bench.crowd import Plan
from tests.bench.processes import (
    cpu_seconds,
    crowd,
    double,
    ended_seconds,
    nginx,
    nginx_program,
    port_of,
    recorder,
)
from tests.bench.replay import recorded
from tests.bench.report import Verdict, table

STREAMS, RATE = 300, 40
SHORTEST, LONGEST = 97, 217
"""Tokens of an answer: 2.5 to 5.5 s, so that streams begin and end all the time."""

EARLIER = [Chat(number, SHORTEST) for number in range(900_000, 900_300)]
"""What is on the cassette already."""

WINDOW = (2.0, 7.0)
"""Seconds after the start."""

PACE = 0.95
"""The share of its rate that a load must have kept, or it measured something else."""

ROUNDS = 5
"""Odd, for the median: of shared cores a round may go wrong, and sometimes two."""
BOUND, AIM = 2.2, 1.25

NGINX, RECORD, FORWARD = "nginx, passing through", "replayproxy, recording", "replayproxy, forwarding only"


@dataclass(frozen=True, slots=True)
class Round:
    """What one server did in the window."""

    cost: float
    """Microseconds of CPU for an event."""
    busy: float
    """The share of its core."""
    rate: float
    """Events a second."""
    answers: int
    """In the whole run, not only in the window."""
    events: int
    sealing: float = 0
    """Seconds of CPU after the last answer."""


def measure(folder: Path) -> list[Verdict]:
    """Print the table. Raises `RuntimeError` where an event was lost or an exchange was not recorded."""
    earlier = recorded(folder, EARLIER)
    servers = [NGINX, RECORD, FORWARD] if nginx_program() else [RECORD, FORWARD]
    rounds: dict[str, list[Round]] = {server: [] for server in servers}
    for number in range(ROUNDS):
        for server in servers:
            rounds[server].append(_round(server, folder, earlier, number))
    rows = [_row(server, rounds[server], rounds.get(NGINX)) for server in servers]
    title = (
        f"Recording: {STREAMS} streams x {RATE} events/s, CPU per event, median of {ROUNDS} rounds (and their range)"
    )
    headings = ("server", "us/event", "range", "x nginx", "core busy", "events/s", "answers", "events")
    print(table(title, headings, rows))
    slowest = min(one.rate for server in servers for one in rounds[server]) / (STREAMS * RATE)
    if slowest < PACE:
        print(f"  The load kept only {slowest:.0%} of its pace: this machine is too busy for these numbers.\n")
    last = rounds[RECORD][-1]
    print("  Every event arrived, and every exchange is on its cassette byte for byte.")
    print(f"  Sealing the last one ({last.answers} exchanges) took {last.sealing:.2f} s of CPU, once.\n")
    ratio = None if NGINX not in rounds else _ratio(rounds[RECORD], rounds[NGINX])
    return [Verdict("CPU per event while recording / nginx passing through", ratio, BOUND, AIM, why="no nginx")]


def _row(server: str, rounds: list[Round], beside: list[Round] | None) -> tuple[str, ...]:
    costs = sorted(one.cost for one in rounds)
    return (
        server,
        f"{median(costs):.1f}",
        f"{costs[0]:.1f}-{costs[-1]:.1f}",
        f"{_ratio(rounds, beside):.2f}" if beside else "",
        f"{median(one.busy for one in rounds):.0%}",
        f"{median(one.rate for one in rounds):.0f}",
        f"{sum(one.answers for one in rounds)}",
        f"{sum(one.events for one in rounds)}",
    )


def _ratio(rounds: list[Round], beside: list[Round]) -> float:
    """The median over rounds: what happens to the machine in a round happens to both."""
    return median(ours.cost / theirs.cost for ours, theirs in zip(rounds, beside, strict=True))


def _round(server: str, folder: Path, earlier: Path, number: int) -> Round:
    with double(RATE) as upstream:
        if server == NGINX:
            with nginx(folder, upstream) as passing:
                return _let_flow(passing.pid, passing.port, number)
        cassette = folder / "record.cassette"
        shutil.copy(earlier, cassette)
        more = ("--exclude", "*") if server == FORWARD else ()
        with recorder(cassette, upstream, *more) as proxy:
            flowed = _let_flow(proxy.pid, port_of(proxy.url), number)
            time.sleep(0.5)  # the last batch
            used, ended = cpu_seconds(proxy.pid), ended_seconds()
        sealing = ended_seconds() - ended - used
    if server == FORWARD:
        return flowed
    _compare(cassette, flowed)
    return replace(flowed, sealing=sealing)


def _chats(number: int) -> list[Chat]:
    """More than can be asked in a round; other ones in every round."""
    first = number * 10_000
    return [Chat(first + place, SHORTEST + place * 37 % (LONGEST - SHORTEST + 1)) for place in range(5 * STREAMS)]


def _let_flow(pid: int, port: int, number: int) -> Round:
    chats = _chats(number)
    heard = crowd(
        Plan(
            port=port,
            path=PATH,
            bodies=[chat.body.decode() for chat in chats],
            streams=STREAMS,
            seconds=WINDOW[1],
            spread=1.0,
            window=WINDOW,
            watched=[pid],
        )
    )
    for answer in heard.answers:
        chat = chats[answer.body]
        if not answer.whole or answer.checksum != chat.checksum:
            raise RuntimeError(
                f"chat {chat.number} got {answer.events} events ({answer.size} bytes, status {answer.status}), not the"
                f" {len(chat.events)} that were sent; {answer.refusal or 'then its connection was closed'}"
            )
    return Round(
        cost=heard.window_cpu[0] / heard.window_events * 1e6,
        busy=heard.window_cpu[0] / heard.window_seconds,
        rate=heard.window_events / heard.window_seconds,
        answers=len(heard.answers),
        events=sum(answer.events for answer in heard.answers),
    )


def _compare(path: Path, flowed: Round) -> None:
    """Raise unless all that flowed is on the cassette as it was sent, with the boundaries it was sent with."""
    with CassetteReader(path) as cassette:
        rows = cassette.all("SELECT id FROM exchange WHERE occurrence IS NOT NULL ORDER BY id")
        numbers = [row[0] for row in rows[len(EARLIER) :]]
        if len(numbers) != flowed.answers or cassette.all("SELECT * FROM dropped"):
            raise RuntimeError(f"{len(numbers)} of {flowed.answers} exchanges were recorded")
        for number in numbers:
            exchange = cassette.exchange(number)
            events = asked(exchange.request.body).events
            if [chunk.data for chunk in exchange.response.chunks()] != events:
                raise RuntimeError(f"recording {number} is not what was sent")
