"""How fast recordings replay: streams a second at speed max, beside nginx serving the same bytes as static files.

200 distinct recordings of 65 chunks, asked for in turn over connections that stay: POST to replayproxy, which parses
the body, derives the key, looks it up and answers in chunked coding; GET to nginx, which sends a file with a
Content-Length. Client and server have a core each. No client on one core keeps nginx busy (wrk does not either), so
that streams a second would flatter us: what counts is streams for a second of the server's CPU, which is the same
where both are busy.

The proxy remembers the keys of requests whose bytes it has seen. So there is a second row, where every request names
another user: its bytes are new, what it asks for is not.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.conversation import EXTRA_EVENTS, PATH, Chat
from tests.bench.crowd import Plan
from tests.bench.processes import (
    crowd,
    double,
    hammer,
    nginx,
    nginx_program,
    port_of,
    recorder,
    replayer,
    server_core,
)
from tests.bench.report import Verdict, table

CHUNKS = 65
CHATS = [Chat(number, CHUNKS - EXTRA_EVENTS) for number in range(200)]
CONNECTIONS = 32
SECONDS = 3.0
ROUNDS = 3
BOUND, AIM = 0.25, 0.45

USERS = 20
"""For each chat: more requests than the proxy remembers keys."""

NGINX, REPLAY, NEW = "nginx, static file", "replayproxy, speed max", "replayproxy, new bytes"


@dataclass(frozen=True, slots=True)
class Round:
    """What one server did."""

    streams: int
    seconds: float
    cpu: float
    others: float
    """Seconds its core was busy with something else."""

    @property
    def by_clock(self) -> float:
        """Streams a second."""
        return self.streams / self.seconds

    @property
    def by_cpu(self) -> float:
        """Streams for a second of the server's CPU."""
        return self.streams / self.cpu


def measure(folder: Path) -> list[Verdict]:
    """Print the table."""
    cassette = recorded(folder, CHATS)
    (folder / "www").mkdir(exist_ok=True)
    for chat in CHATS:
        (folder / "www" / f"{chat.number}.sse").write_bytes(b"".join(chat.events))
    rounds: dict[str, list[Round]] = {}
    with ExitStack() as running:
        proxy = running.enter_context(replayer(cassette))
        port = port_of(proxy.url)
        _check(port)
        new = [_post(chat, user) for user in range(1, USERS + 1) for chat in CHATS]
        servers = {REPLAY: (port, proxy.pid, [_post(chat) for chat in CHATS]), NEW: (port, proxy.pid, new)}
        if nginx_program():
            passing = running.enter_context(nginx(folder))
            servers = {NGINX: (passing.port, passing.pid, [_get(chat) for chat in CHATS]), **servers}
        for _ in range(ROUNDS):
            for server, (port, pid, requests) in servers.items():
                rounds.setdefault(server, []).append(_round(port, pid, requests))
    beside = rounds.get(NGINX)
    title = f"Replaying: streams of {CHUNKS} chunks over {CONNECTIONS} connections, median of {ROUNDS} rounds"
    headings = ("server", "streams/s", "range", "x nginx", "core busy", "streams/CPU s", "x nginx", "others on core")
    print(table(title, headings, [_row(server, them, beside) for server, them in rounds.items()]))
    ratio = _by_cpu(rounds[REPLAY], beside) if beside else None
    return [Verdict("streams replayed for CPU / nginx serving files", ratio, BOUND, AIM, at_least=True, why="no nginx")]


def recorded(folder: Path, chats: list[Chat], rate: float = 0, spread: float = 0) -> Path:
    """A cassette with these chats, recorded from the double."""
    cassette = folder / f"{len(chats)}-at-{rate:g}.cassette"
    cassette.unlink(missing_ok=True)
    with double(rate) as upstream, recorder(cassette, upstream) as proxy:
        _ask_all(port_of(proxy.url), chats, streams=len(chats) if rate else 16, spread=spread)
    return cassette


def _ask_all(port: int, chats: list[Chat], *, streams: int, spread: float = 0) -> None:
    bodies = [chat.body.decode() for chat in chats]
    heard = crowd(Plan(port=port, path=PATH, bodies=bodies, streams=streams, spread=spread))
    for answer in heard.answers:
        chat = chats[answer.body]
        if (answer.checksum, answer.chunks) != (chat.checksum, len(chat.events) + 1):  # the last-chunk is one too
            raise RuntimeError(f"chat {chat.number} came in {answer.chunks} chunks with status {answer.status}")
    if len(heard.answers) != len(chats):
        raise RuntimeError(f"{len(heard.answers)} of {len(chats)} chats were answered")


def _check(port: int) -> None:
    """Raise unless every recording replays with its bytes and its chunks."""
    _ask_all(port, CHATS, streams=16)


def _post(chat: Chat, user: int = 0) -> str:
    body = chat.body.decode()
    if user:
        body = f'{body[:-1]},"user":"user-{user}"}}'
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: OpenAI/Python 2.8.1\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )


def _get(chat: Chat) -> str:
    return (
        f"GET /{chat.number}.sse HTTP/1.1\r\nHost: localhost\r\nUser-Agent: OpenAI/Python 2.8.1\r\n"
        "Accept: text/event-stream\r\n\r\n"
    )


def _round(port: int, pid: int, requests: list[str]) -> Round:
    done = hammer(port=port, requests=requests, connections=CONNECTIONS, seconds=SECONDS, pid=pid, core=server_core())
    return Round(done["answers"], done["seconds"], done["cpu"], max(0.0, done["busy"] - done["cpu"]))


def _row(server: str, rounds: list[Round], beside: list[Round] | None) -> tuple[str, ...]:
    speeds = sorted(one.by_clock for one in rounds)
    return (
        server,
        f"{median(speeds):.0f}",
        f"{speeds[0]:.0f}-{speeds[-1]:.0f}",
        f"{_by_clock(rounds, beside):.3f}" if beside else "",
        f"{median(one.cpu / one.seconds for one in rounds):.0%}",
        f"{median(one.by_cpu for one in rounds):.0f}",
        f"{_by_cpu(rounds, beside):.3f}" if beside else "",
        f"{median(one.others / one.seconds for one in rounds):.0%}",
    )


def _by_clock(rounds: list[Round], beside: list[Round]) -> float:
    return median(ours.by_clock / theirs.by_clock for ours, theirs in zip(rounds, beside, strict=True))


def _by_cpu(rounds: list[Round], beside: list[Round]) -> float:
    return median(ours.by_cpu / theirs.by_cpu for ours, theirs in zip(rounds, beside, strict=True))
