"""What hostile or careless clients cost the others: memory of the proxy, and the latency of a client beside them.

Six inputs, each against a proxy of its own, for `record` and where it makes sense for `replay`. Meanwhile an innocent
client asks a small request 100 times a second. Peak memory is VmHWM from /proc, of the proxy and of the process that it
gives heavy work to; the growth is counted from the moment before the load. All clients of the load are sockets of this
process.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from replayproxy.core.stats import percentile
from tests.bench.innocent import PERIOD
from tests.bench.processes import port_of, process
from tests.bench.report import Verdict, table
from tests.bench.sink import LONG
from tests.processes import Proxy, recording, replaying

UPLOAD = 3 * 1024**3
"""Bytes of the one huge upload."""
READERS = 200
HALVES = 2000
TIMEOUT = 3
"""Seconds: --header-timeout and --body-timeout of the proxy that gets half requests."""

AT_LEAST = 5.0
"""Seconds for which the innocent client is watched beside each load: p99 of fewer than 500 answers says little."""

ALONE = 1.0
"""Seconds before the load in which the innocent client is watched alone."""

PATIENCE = 120.0

P99 = 50.0
"""Milliseconds: the bound of the others' latency."""

QUIET = 10.0
"""Milliseconds. Where p99 is more than this before the load, something else on the machine holds the clients up."""

PATH = "/v1/chat/completions"
SMALL = b'{"model":"tiny","messages":[{"role":"user","content":"Hello."}]}'


def post(body: bytes, path: str = PATH) -> bytes:
    """A request, whole."""
    return head(len(body), path) + body


def head(length: int, path: str = PATH) -> bytes:
    """The head of one."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer abcdefgh12345\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def escapes() -> bytes:
    """20 MB of JSON escapes."""
    return b'{"model":"tiny","prompt":"' + b"\\u0061" * (20_000_000 // 6) + b'"}'


def keys() -> bytes:
    """An object with a million keys."""
    return b'{"model":"tiny",' + b",".join(b'"k%d":1' % number for number in range(1_000_000)) + b"}"


def floats() -> bytes:
    """300 000 numbers that are integers of 301 digits."""
    return b'{"model":"tiny","prompt":[' + b",".join([b"1.5e300"] * 300_000) + b"]}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one load did."""

    what: str
    seconds: float
    grown: float
    """MiB of peak memory above what there was before."""
    p99: float
    longest: float
    """Of the innocent client's answers, milliseconds."""
    alone: float
    """Its p99 in the second before the load."""
    note: str = ""

    @property
    def row(self) -> tuple[str, ...]:
        """For the table."""
        return (
            self.what,
            f"{self.seconds:.1f}",
            f"{self.grown:.0f}",
            f"{self.alone:.1f}",
            f"{self.p99:.1f}",
            f"{self.longest:.0f}",
            self.note,
        )


Load = Callable[[Proxy], str]
"""Burdens a proxy; gives a note for the table."""


def measure(folder: Path) -> list[Verdict]:
    """Print the table. Raises `RuntimeError` where the proxy did not do what it should."""
    costs: list[Cost] = []
    verdicts: list[Verdict] = []
    with _sink() as url:
        for name, bound, load, flags in RECORD:
            with recording(folder / f"{len(costs)}.cassette", url, *flags) as proxy:
                costs.append(_measured(f"record: {name}", proxy, load))
            verdicts += _verdicts(costs[-1], bound)
        tape = folder / "replayed.cassette"
        _record(tape, url)
        for name, bound, load, flags in REPLAY:
            with replaying(tape, *flags) as proxy:
                costs.append(_measured(f"replay: {name}", proxy, load))
            verdicts += _verdicts(costs[-1], bound)
    headings = ("load", "s", "MiB more at the peak", "others' p99 before, ms", "with it, ms", "longest, ms", "")
    print(table("What one kind of client costs the proxy and the others", headings, [cost.row for cost in costs]))
    return verdicts


def _verdicts(cost: Cost, bound: float) -> list[Verdict]:
    return [
        Verdict(f"others' p99, {cost.what}", cost.p99, P99, unit="ms", counted=cost.alone <= QUIET),
        Verdict(f"peak memory, {cost.what}", cost.grown, bound, unit="MiB"),
    ]


@contextmanager
def _sink() -> Iterator[str]:
    with process(sys.executable, "-m", "tests.bench.sink", stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        yield f"http://127.0.0.1:{int(started.stdout.readline())}"


def _record(cassette: Path, url: str) -> None:
    """The cassette that is replayed: the innocent request, a long answer, and what the heavy ones resemble."""
    with recording(cassette, url) as proxy:
        for request in (
            post(SMALL),
            post(b"{}", "/long"),
            post(b'{"model":"tiny","prompt":"aaaa"}'),
            post(b'{"model":"tiny","prompt":[1,2,3]}'),
        ):
            _ask(proxy, request)


def _measured(what: str, proxy: Proxy, load: Load) -> Cost:
    command = (sys.executable, "-m", "tests.bench.innocent", str(port_of(proxy.url)))
    with process(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as innocent:
        assert innocent.stdin is not None
        assert innocent.stdout is not None
        innocent.stdin.write(post(SMALL))
        innocent.stdin.close()
        innocent.stdin = None
        time.sleep(ALONE)
        peak = _Peak(proxy.pid)
        began = time.monotonic()
        note = load(proxy)
        seconds = time.monotonic() - began
        time.sleep(max(0.5, AT_LEAST - seconds))
        innocent.send_signal(signal.SIGTERM)
        spent: list[float] = orjson.loads(innocent.stdout.read())
    beats = round(ALONE / PERIOD)
    alone, ordered = sorted(spent[:beats]), sorted(spent[beats:])
    print(f"  {what}: {seconds:.1f} s, {note}", flush=True)
    return Cost(what, seconds, peak.grown(), percentile(ordered, 99), ordered[-1], percentile(alone, 99), note)


class _Peak:
    """The memory of a process and of its children, sampled ten times a second; and VmHWM of the process itself."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM begins again
        self._before = _status(pid, "VmRSS")
        self._children = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            children = {child for task in Path(f"/proc/{self._pid}/task").glob("*") for child in _children(task)}
            self._children = max(self._children, sum(_status(int(child), "VmRSS") for child in children))

    def grown(self) -> float:
        """MiB."""
        self._ended.set()
        self._thread.join()
        return _status(self._pid, "VmHWM") - self._before + self._children


def _children(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except OSError:  # the thread has ended
        return []


def _status(pid: int, name: str) -> float:
    """A line of /proc/PID/status, in MiB; 0 where the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


# The loads


def _connected(proxy: Proxy, receive_buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", port_of(proxy.url)))
    return connection


def _status_of(connection: socket.socket) -> int:
    received = connection.recv(4096)
    if not received.startswith(b"HTTP/1.1 "):
        raise RuntimeError(f"an answer begins with {received[:100]!r}")
    return int(received[9:12])


def _ask(proxy: Proxy, request: bytes) -> int:
    """Send a request, and read its answer until the connection rests or is closed; gives the status."""
    with _connected(proxy) as connection:
        connection.sendall(request)
        status = _status_of(connection)
        connection.settimeout(0.5)
        try:
            while connection.recv(1 << 20):
                pass
        except TimeoutError:
            pass
        return status


def _counted(proxy: Proxy, name: str) -> int:
    """A counter of /metrics."""
    with urllib.request.urlopen(f"{proxy.admin_url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(name))


def _one(body: Callable[[], bytes], status: int) -> Load:
    """One heavy request."""

    def load(proxy: Proxy) -> str:
        request = post(body())
        began = time.monotonic()
        if (got := _ask_only(proxy, request)) != status:
            raise RuntimeError(f"got {got} instead of {status}")
        took = time.monotonic() - began
        return f"answered after {took:.1f} s"

    return load


def _ask_only(proxy: Proxy, request: bytes) -> int:
    with _connected(proxy) as connection:
        connection.sendall(request)
        return _status_of(connection)


def _upload(proxy: Proxy) -> str:
    """3 GB; in replay the answer comes before the end."""
    piece = b"a" * (1 << 20)
    sent = 0
    with _connected(proxy) as connection:
        connection.sendall(head(UPLOAD) + b'{"prompt":"')
        sent = 11
        try:
            while sent < UPLOAD:
                sent += connection.send(piece[: UPLOAD - sent])
        except OSError:
            pass  # answered with 413, and closed
        status = _status_of(connection)
    return f"{status} after {sent >> 20} MiB; counted: {_counted(proxy, 'replayproxy_uploads_cut_total')}"


def _unread(proxy: Proxy) -> str:
    """200 clients that ask for 8 MiB and read nothing."""
    _read_at_once(proxy)
    before = _status(proxy.pid, "VmRSS")
    readers = [_connected(proxy, 4096) for _ in range(READERS)]
    for reader in readers:
        reader.sendall(post(b"{}", "/long"))
    time.sleep(6)
    held = (_status(proxy.pid, "VmRSS") - before) * 1024 / READERS
    for reader in readers:
        reader.close()
    return f"{held:.0f} KiB held for each of {READERS}, of {LONG >> 10}"


def _read_at_once(proxy: Proxy) -> None:
    """Sixteen that do read: what the proxy keeps of that, such as the recording, belongs to no reader."""
    reading = [threading.Thread(target=_ask, args=(proxy, post(b"{}", "/long"))) for _ in range(16)]
    for thread in reading:
        thread.start()
    for thread in reading:
        thread.join()


def _halves(proxy: Proxy) -> str:
    """1 000 half heads and 1 000 half bodies."""
    half = [_connected(proxy) for _ in range(HALVES)]
    for number, connection in enumerate(half):
        connection.sendall(head(100)[:40] if number % 2 else head(100) + b"{")
    began = time.monotonic()
    statuses = [_status_of(connection) for connection in half]
    took = time.monotonic() - began
    for connection in half:
        connection.close()
    heads, bodies = (
        _counted(proxy, f'replayproxy_refused_total{{code="{name}_timeout"}}') for name in ("header", "body")
    )
    if statuses != [408] * HALVES or heads + bodies != HALVES:
        raise RuntimeError(f"{statuses.count(408)} got 408; {heads} and {bodies} were counted")
    return f"all closed after {took:.1f} s; counted: {heads} heads, {bodies} bodies"


SHORT_TIMES = ("--header-timeout", str(TIMEOUT), "--body-timeout", str(TIMEOUT))

RECORD: list[tuple[str, float, Load, tuple[str, ...]]] = [
    ("an upload of 3 GB", 600, _upload, ()),
    ("20 MB of escapes", 400, _one(escapes, 200), ()),
    ("a million keys", 600, _one(keys, 200), ()),
    ("300 000 x 1.5e300", 200, _one(floats, 200), ()),
    (f"{READERS} that do not read", 150, _unread, ()),
    (f"{HALVES} half requests", 100, _halves, SHORT_TIMES),
]
"""Name, bound of the peak memory in MiB, load, flags."""

REPLAY: list[tuple[str, float, Load, tuple[str, ...]]] = [
    ("an upload of 3 GB", 300, _upload, ()),
    ("20 MB of escapes", 400, _one(escapes, 404), ()),
    ("a million keys", 600, _one(keys, 404), ()),
    ("300 000 x 1.5e300", 200, _one(floats, 404), ()),
    (f"{READERS} that do not read", 150, _unread, ()),
    (f"{HALVES} half requests", 100, _halves, SHORT_TIMES),
]
