"""Serves the inspector by itself: what `replayproxy web` runs. Listens, says where, serves until it is to stop."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from quart import Quart

from replayproxy.admin import asgi
from replayproxy.admin.hosts import is_loopback
from replayproxy.admin.inspector.access import LENGTH, Access
from replayproxy.admin.inspector.application import Inspector, mount
from replayproxy.admin.inspector.library import CassetteLibrary
from replayproxy.admin.inspector.page import InspectedRun
from replayproxy.errors import SettingsError, setting
from replayproxy.net.clock import SystemClock
from replayproxy.net.http_server import free_socket
from replayproxy.proxy.result import RunResult


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Where the inspector listens, and what it shows. `token` None: one is made where it is not on loopback."""

    cassettes: Sequence[Path]
    host: str = "127.0.0.1"
    port: int = 0
    allowed_hosts: Sequence[str] = ()
    token: str | None = None
    report: RunResult | None = None


async def serve_pages(options: WebOptions, stopped: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serve until `stopped`. `ready` gets the URL, with the token if one is needed. Raises `SettingsError`."""
    listening = free_socket(options.host, options.port, name="port")
    token = options.token
    if token is None and not is_loopback(options.host):
        token = secrets.token_urlsafe(32)
    clock = SystemClock()
    try:
        library = CassetteLibrary(lambda: options.cassettes)
        app = application(library, access_of(options.host, options.allowed_hosts, token), options.report)
        host, port = listening.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        ready(f"{url}?token={token}" if token else url)
        await asgi.serve(app, lambda server: server.serve_on(listening), stopped, now=clock.now, refusals=Counter())
    finally:
        clock.close()


def application(library: CassetteLibrary, access: Access, report: RunResult | None = None) -> Quart:
    """The application by itself, at the root of its port."""
    app = Quart(__name__, static_folder=None)
    mount(app, Inspector(library, access, None if report is None else run_of(report)))
    return app


def access_of(host: str, allowed: Sequence[str], token: str | None) -> Access:
    """Who may look at what listens on this address."""
    return Access(frozenset(name.lower() for name in ("localhost", host, *allowed)), token)


def run_of(report: RunResult) -> InspectedRun:
    """A run that has ended, out of its report."""

    async def result() -> RunResult:
        return report

    return InspectedRun(result, result, is_live=False)


def read_token(path: Path, name: str) -> str:
    """The token in a file; `name` is the setting that names it. Raises `SettingsError`."""
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the token file {path} cannot be read ({error}): {setting(name)} names a text file"
        ) from error
    if len(token) < LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(
            f"the token in {path} cannot be used: {setting(name)} names a file with at least {LENGTH} printable ASCII"
            " characters without blanks"
        )
    return token
