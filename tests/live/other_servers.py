"""Real HTTP servers as reverse proxies: nginx, HAProxy, Apache and Caddy, each in the foreground on a loopback port.

    async with NGINX.started(upstream_port, folder) as url:
        ...

The programs are Debian's packages. One that is missing is installed with apt-get by root; any other user gets a skip
that says what to install. Configuration and logs are files in `folder`. Knows nothing of what goes through the servers.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

START_PATIENCE = 15.0
"""Seconds until a server accepts connections: each needs less than one."""

STOP_PATIENCE = 10.0
"""Seconds between SIGTERM and SIGKILL."""

INSTALL_PATIENCE = 300.0
"""Seconds for apt-get."""

LAST_WORDS = 3000

TRIES = 4
"""Attempts at a dialogue which the other server may spoil."""

SEARCHED = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
"""Debian's servers are in /usr/sbin, which only root has in PATH."""


def program(name: str, package: str) -> str:
    """The path of a program, installed now if need be and if we are root. Skips the test otherwise."""
    if (found := shutil.which(name, path=SEARCHED)) is not None:
        return found
    way_out = f"there is no {name} on this machine: apt-get install --no-install-recommends {package}"
    if os.geteuid() or shutil.which("apt-get") is None:
        pytest.skip(way_out)
    said = ""
    for command in (("update",), ("install", "-y", "--no-install-recommends", package)):
        ran = subprocess.run(
            ("apt-get", "-q", *command),
            # In runlevel 1 no service starts: the packages of servers start theirs on port 80 otherwise.
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
            capture_output=True,
            text=True,
            timeout=INSTALL_PATIENCE,
            check=False,
        )
        said = (ran.stdout + ran.stderr)[-LAST_WORDS:]
    if (found := shutil.which(name, path=SEARCHED)) is None:
        pytest.skip(f"{way_out} (apt-get as root failed here: {said})")
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class ReverseProxy:
    """A kind of server. `configuration` takes its port, the upstream's port and the folder, and gives the file's text;
    `arguments` takes the file and gives the command line behind the program's name. `may_hide_breaks`: some versions
    give their client a clean end where the upstream's answer broke off. `own_break`: what the server logs when it
    closed its own connection to a healthy upstream within an answer."""

    name: str
    executable: str
    package: str
    configuration: Callable[[int, int, Path], str]
    arguments: Callable[[Path], tuple[str, ...]]
    may_hide_breaks: bool = False
    own_break: str = ""

    def __str__(self) -> str:
        return self.name

    @asynccontextmanager
    async def started(self, upstream_port: int, folder: Path) -> AsyncIterator[str]:
        """Run one in front of this port of 127.0.0.1; gives its URL. Raises `AssertionError` with its last words."""
        executable = program(self.executable, self.package)
        folder.mkdir(parents=True)
        port = free_port()
        file = folder / "configuration"
        file.write_text(self.configuration(port, upstream_port, folder))
        log = folder / "log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                executable,
                *self.arguments(file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                cwd=folder,
                env={"PATH": SEARCHED, "HOME": str(folder)},  # Caddy keeps files in its user's home
                start_new_session=True,
            )
        try:
            await _accepting(port, process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            await _ended(process)


def undisturbed(server: ReverseProxy | None, folder: Path, attempt: Callable[[Path], None]) -> None:
    """Call `attempt` with a new folder; again, at most `TRIES` times, where it failed and the server logged a break of
    its own. Raises what the last attempt raises."""
    for number in range(TRIES):
        place = folder / f"try-{number}"
        place.mkdir()
        try:
            return attempt(place)
        except Exception:
            logs = [log.read_text() for log in place.rglob("log")]
            own = server is not None and server.own_break and any(server.own_break in log for log in logs)
            if not own or number == TRIES - 1:
                raise
    return None


async def _accepting(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    for _ in range(round(START_PATIENCE * 20)):
        with socket.socket() as attempt:
            attempt.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(attempt, ("127.0.0.1", port))
            except OSError:
                pass
            else:
                return
        assert process.returncode is None, f"it ended with {process.returncode}:\n{log.read_text()[-LAST_WORDS:]}"
        await asyncio.sleep(0.05)
    raise AssertionError(f"it accepted no connection within {START_PATIENCE:g} s:\n{log.read_text()[-LAST_WORDS:]}")


async def _ended(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, which all of them take as: stop now, with your children."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_PATIENCE):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, 9)
        await process.wait()


# Configurations


def _nginx(upstream: str) -> Callable[[int, int, Path], str]:
    """nginx writes what does not fit into its buffers to files; by default they are in a folder that root owns."""

    def configuration(port: int, upstream_port: int, folder: Path) -> str:
        account = pwd.getpwuid(os.geteuid())
        user = f"user {account.pw_name} {grp.getgrgid(account.pw_gid).gr_name};" if not os.geteuid() else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "\n".join(f"    {kind}_temp_path {folder / kind};" for kind in kinds)
        return f"""
{user}
daemon off;
worker_processes 1;
pid {folder / "pid"};
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_max_body_size 8m;
{places}
    upstream behind {{
        server 127.0.0.1:{upstream_port};
        keepalive 4;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://behind;
            proxy_buffering off;
            {upstream}
        }}
    }}
}}
"""

    return configuration


def _haproxy(port: int, upstream_port: int, folder: Path) -> str:
    return f"""
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port}
    default_backend behind
backend behind
    server one 127.0.0.1:{upstream_port}
"""


def _apache(port: int, upstream_port: int, folder: Path) -> str:
    """Apache refuses to serve as root: its children become somebody who owns nothing."""
    account = "" if os.geteuid() else f"User nobody\nGroup {grp.getgrgid(pwd.getpwnam('nobody').pw_gid).gr_name}"
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
        for name in ("mpm_event", "authz_core", "proxy", "proxy_http")
    )
    return f"""
ServerRoot {folder}
ServerName localhost
DefaultRuntimeDir {folder}
PidFile {folder / "pid"}
ErrorLog {folder / "errors"}
Listen 127.0.0.1:{port}
{modules}
{account}
StartServers 1
ProxyPass / http://127.0.0.1:{upstream_port}/ flushpackets=on
"""


def _caddy(port: int, upstream_port: int, folder: Path) -> str:
    return f"""
{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{upstream_port}
}}
"""


def _nginx_arguments(file: Path) -> tuple[str, ...]:
    return "-p", str(file.parent), "-e", "stderr", "-c", str(file)


SERVERS = (
    # Its default towards upstreams is HTTP/1.0 with `Connection: close`, whatever the client speaks.
    ReverseProxy("nginx", "nginx", "nginx-light", _nginx(""), _nginx_arguments),
    ReverseProxy(
        "nginx-1.1-keepalive",
        "nginx",
        "nginx-light",
        _nginx('proxy_http_version 1.1; proxy_set_header Connection "";'),
        _nginx_arguments,
    ),
    ReverseProxy("haproxy", "haproxy", "haproxy", _haproxy, lambda file: ("-db", "-f", str(file))),
    ReverseProxy("apache", "apache2", "apache2-bin", _apache, lambda file: ("-D", "FOREGROUND", "-f", str(file))),
    ReverseProxy(
        "caddy",
        "caddy",
        "caddy",
        _caddy,
        lambda file: ("run", "--config", str(file), "--adapter", "caddyfile"),
        may_hide_breaks=True,  # before 2.8: Debian 12 has 2.6 (https://github.com/caddyserver/caddy/issues/5951)
        # With 2.6 one in a few hundred streams from a healthy upstream breaks, with no replayproxy in the way.
        own_break="use of closed network connection",
    ),
)
