"""Connects a proxy's control with the pages and the metrics of the admin port, and serves them.

Quart and Prometheus are loaded when a proxy with an admin port starts, because they take a quarter of its start.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from replayproxy.admin.hosts import is_loopback
from replayproxy.control import Control
from replayproxy.core.policy import Mode
from replayproxy.net.http_server import free_socket

if TYPE_CHECKING:
    from replayproxy.admin.inspector.application import Inspector


PREFIX = "/inspector"
"""Where the inspector is on the admin port."""


def serve_admin(control: Control, stopped: asyncio.Event) -> tuple[str, asyncio.Task[None]]:
    """Listen, and serve until `stopped`. Returns the URL, and the task that serves. Raises `SettingsError`."""
    from replayproxy.admin import asgi
    from replayproxy.admin.app import Changeable, Replayed, Shown, application
    from replayproxy.admin.inspector.application import mount
    from replayproxy.admin.metrics import ProxyCollector, registry

    settings, listen = control.settings, control.settings.listen
    assert listen.admin_port is not None
    listening = free_socket(listen.admin_host, listen.admin_port)
    collector = ProxyCollector(
        settings.mode.value,
        control.counters,
        server=control.data_server,
        recorded=lambda: control.recorded,
        dropped=lambda: dict(control.dropped),
        queue_bytes=lambda: control.queued_bytes,
        degraded=lambda: control.trouble is not None,
        state_bytes=control.state_bytes,
        upstream=control.upstream_counts,
        hand_overs=control.hand_overs,
        records=settings.records,
        queue_limit=settings.recording.queue_bytes,
        cassette_bytes=control.recorded_file_sizes,
        disk_free=control.disk_free,
    )
    simulation = control.simulation
    shown = Shown(
        ready=control.reasons_not_ready,
        degraded=lambda: control.trouble,
        registry=registry(collector),
        replay=Replayed(control.report_as_json, control.misses_as_json, control.miss_as_json, control.reset)
        if settings.plays
        else None,
        rotate=control.rotate if settings.mode is Mode.RECORD and not control.keeps_window else None,
        keep=control.keep if control.keeps_window else None,
        simulation=None if simulation is None else Changeable(simulation.document, simulation.change),
    )
    names = frozenset(name.lower() for name in ("localhost", listen.admin_host, *listen.admin_allowed_hosts))
    app = application(shown, names)
    mount(app, _inspector(control, names), PREFIX)
    serving = asgi.serve(
        app,
        lambda server: server.serve_on(listening),
        stopped,
        now=control.now,
        refusals=control.data_server.refusals,
    )
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}", asyncio.create_task(serving)


def _inspector(control: Control, hosts: frozenset[str]) -> Inspector:
    """The inspector of this proxy: the cassettes that it plays and records, and its run. Raises `SettingsError`."""
    from replayproxy.admin.inspector.access import Access
    from replayproxy.admin.inspector.application import Inspector
    from replayproxy.admin.inspector.library import CassetteLibrary
    from replayproxy.admin.inspector.page import InspectedRun
    from replayproxy.admin.inspector.service import read_token

    settings, listen = control.settings, control.settings.listen
    token = None if listen.admin_token_file is None else read_token(listen.admin_token_file, "admin_token_file")
    closed = ""
    if token is None and not is_loopback(listen.admin_host):
        closed = (
            "the inspector shows whole conversations, and this address can be reached from elsewhere: start the proxy"
            " with --admin-token-file FILE"
        )

    def cassettes() -> list[Path]:
        return [path for path in (*settings.cassettes, *control.recorded_files) if path.exists()]

    run = InspectedRun(control.result_of_misses, control.result, is_live=True) if settings.plays else None
    return Inspector(CassetteLibrary(cassettes), Access(hosts, token, closed), run)
