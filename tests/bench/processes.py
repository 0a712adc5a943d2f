"""The processes of a measurement: started on a core, watched by their CPU clocks, ended by their ids. Linux only.

core 0   the server that is measured: nginx, or replayproxy
core 1   what it speaks to: double, crowd, hammer
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import orjson

from replayproxy.net.http_server import free_socket
from tests.processes import Proxy, environment, recording, replaying

if TYPE_CHECKING:
    from tests.bench.crowd import Findings, Plan

T = TypeVar("T")

ROOT = Path(__file__).parent.parent.parent

READY_SECONDS = 30
TALK_SECONDS = 900

# Cores and clocks


def server_core() -> int:
    """The core of what is measured."""
    return min(os.sched_getaffinity(0))


def load_core() -> int:
    """The core of load and upstream; where there is only one, they share it."""
    return sorted(os.sched_getaffinity(0))[:2][-1]


@contextmanager
def on(core: int, starting: AbstractContextManager[T]) -> Iterator[T]:
    """Enter this with processes that it starts bound to a core: they inherit it, and their threads and children too."""
    allowed = os.sched_getaffinity(0)
    with ExitStack() as running:
        os.sched_setaffinity(0, {core})
        try:
            started = running.enter_context(starting)
        finally:
            os.sched_setaffinity(0, allowed)
        yield started


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads, those that have ended too."""
    return time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3), which Python does not have


def ended_seconds() -> float:
    """User and system time of all our processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def core_seconds(core: int) -> float:
    """How long a core was busy, with whatever."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, irq, softirq, steal = map(int, numbers[:8])
            return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return 0.0


@contextmanager
def process(
    *command: str, stdin: int | None = None, stdout: int | None = None, stderr: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process until the block ends: then SIGTERM, and SIGKILL if that does not help."""
    started = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,  # Linux shares out CPUs by session
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
        for pipe in (started.stdin, started.stdout):
            if pipe is not None:
                pipe.close()


# Those we measure with


@contextmanager
def double(rate: float) -> Iterator[str]:
    """A double for vLLM; gives its URL."""
    starting = process(sys.executable, "-m", "tests.bench.double", str(rate), stdout=subprocess.PIPE)
    with on(load_core(), starting) as started:
        assert started.stdout is not None
        yield f"http://127.0.0.1:{int(started.stdout.readline())}"


def crowd(plan: Plan) -> Findings:
    """Let a crowd ask; gives what it heard."""
    from tests.bench.crowd import Findings

    return Findings.of(_talk("tests.bench.crowd", asdict(plan)))


def hammer(**plan: Any) -> Any:
    """Let a hammer ask as fast as it can."""
    return _talk("tests.bench.hammer", plan)


def _talk(module: str, plan: Any) -> Any:
    """Tell a module of ours what to do, and hear what came of it."""
    starting = process(sys.executable, "-m", module, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with on(load_core(), starting) as started:
        said, _ = started.communicate(orjson.dumps(plan), timeout=TALK_SECONDS)
    if started.returncode != 0:
        raise RuntimeError(f"{module} failed with {started.returncode}: what it said stands above")
    return orjson.loads(said)


def report(findings: Any) -> None:
    """Say findings to the one who started us. Where PYTHONUNBUFFERED is set, `sys.stdout` loses what a write leaves."""
    with open(sys.stdout.fileno(), "wb", closefd=False) as whole:
        whole.write(orjson.dumps(findings))


# Those we measure


def recorder(cassette: Path, upstream: str, *flags: str) -> AbstractContextManager[Proxy]:
    """replayproxy recording, on the core of the server."""
    return on(server_core(), recording(cassette, upstream, *flags))


def replayer(cassette: Path, *flags: str) -> AbstractContextManager[Proxy]:
    """replayproxy replaying, on the core of the server."""
    return on(server_core(), replaying(cassette, *flags))


def port_of(url: str) -> int:
    """The port of a URL."""
    return int(url.rpartition(":")[2])


NGINX = """
worker_processes 1;
daemon off;
error_log {folder}/nginx-error.log;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    default_type text/event-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream server {{ server {upstream}; keepalive 512; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder}/www;
        location /v1/ {{
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """An nginx that serves `folder/www`, and passes /v1/ on. `pid` is its worker's."""

    pid: int
    port: int


def nginx_program() -> str | None:
    """Where nginx is; Debian keeps it off the path of most users."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


NO_NGINX = "nginx is not installed, so there is nothing to compare with: apt-get install nginx"


@contextmanager
def nginx(folder: Path, upstream: str = "http://127.0.0.1:9") -> Iterator[Nginx]:
    """An nginx with one worker until the block ends."""
    program = nginx_program()
    assert program is not None, NO_NGINX
    with free_socket("127.0.0.1", 0) as bound:
        port = int(bound.getsockname()[1])
    config, log = folder / "nginx.conf", folder / "nginx-error.log"
    config.write_text(NGINX.format(folder=folder, port=port, upstream=upstream.removeprefix("http://")))
    command = (program, "-c", str(config), "-p", str(folder), "-e", str(log))
    with (folder / "nginx.log").open("wb") as words, on(server_core(), process(*command, stderr=words)) as master:
        children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
        deadline = time.monotonic() + READY_SECONDS
        while master.poll() is None and time.monotonic() < deadline:
            if workers := children.read_text().split():
                yield Nginx(int(workers[0]), port)
                return
            time.sleep(0.05)
        raise RuntimeError(f"nginx did not start: {log.read_text()}")
