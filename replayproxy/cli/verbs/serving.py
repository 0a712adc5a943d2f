"""`record`, `replay`, `auto`, `simulate`: make settings of the options, serve, and log the result at the end."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replayproxy.cli.option_sections import SectionedCommand
from replayproxy.cli.peer_flags import PeerCommand
from replayproxy.cli.priority import run_at
from replayproxy.cli.setting_options import setting_options
from replayproxy.cli.terminal import messages
from replayproxy.core.policy import Mode
from replayproxy.views.units import duration, plural

if TYPE_CHECKING:
    from replayproxy.app import Addresses, App

FILE = click.Path(path_type=Path)


@click.command(cls=SectionedCommand)
@click.argument("cassette", type=FILE)
@setting_options(
    "record", "server", "pair", "listen", "log", "timeouts", "record", "files", "process", "redact", "match"
)
def record(cassette: Path, **options: Any) -> int:
    """Forward to a live server, or to a prefill/decode pair, and record requests and answers on CASSETTE.

    Clients get exactly what the server sends, when it sends it. An existing cassette is continued.

    \b
    Examples:
      replayproxy record chat.cassette --upstream http://127.0.0.1:8000
      replayproxy record pair.cassette --prefill http://127.0.0.1:8100 \\
        --decode http://127.0.0.1:8200
      OPENAI_BASE_URL=http://127.0.0.1:8080/v1 python my_client.py
    """
    return _serve(Mode.RECORD, (cassette,), options)


@click.command(cls=SectionedCommand)
@click.argument("cassette", type=FILE, nargs=-1, required=True)
@setting_options(
    "replay",
    "server",
    "miss",
    "end",
    "pace",
    "fail",
    "simulate",
    "state",
    "redact",
    "match",
    "judge",
    "listen",
    "log",
    "timeouts",
)
def replay(cassette: tuple[Path, ...], **options: Any) -> int:
    """Answer from the recordings on CASSETTE, byte for byte, chunk for chunk, and with --speed at the recorded times.

    Equal requests get their recordings in order. Exit code 3: a request had no recording.

    \b
    Example:
      replayproxy replay chat.cassette --speed 1
    """
    return _serve(Mode.REPLAY, cassette, options)


@click.command(cls=SectionedCommand)
@click.argument("cassette", type=FILE)
@setting_options("auto", "server", "pair", "pace", "listen", "log", "timeouts", "record", "redact", "match")
def auto(cassette: Path, **options: Any) -> int:
    """Answer from the recordings on CASSETTE, and record what is missing.

    The same as replay --on-miss record --at-end refuse, for one cassette, which need not exist yet.

    \b
    Example:
      replayproxy auto chat.cassette --upstream http://127.0.0.1:8000
    """
    return _serve(Mode.AUTO, (cassette,), options)


@click.command(cls=PeerCommand)
@setting_options("simulate", "simulate", "answers", "latency", "state", "fail", "judge", "listen", "log")
def simulate(**options: Any) -> int:
    """Answer chats and completions as vLLM does, with meaningless text at the given latencies.

    \b
    Example:
      replayproxy simulate --model tiny --ttft 200ms --itl 20ms --jitter 0.1
    """
    return _serve(Mode.SIMULATE, (), options)


def _serve(mode: Mode, cassettes: tuple[Path, ...], options: dict[str, Any]) -> int:
    # Imported here, because --help and completion do not need the server.
    from replayproxy import lifetime
    from replayproxy.admin.service import serve_admin
    from replayproxy.api.options import settings_of
    from replayproxy.cli.access_log import AccessLog
    from replayproxy.cli.judging import ending
    from replayproxy.proxy.verdict import RunPolicy

    messages.use(options["log_format"])
    messages.use_level("warning" if options["quiet"] else options["log_level"])
    settings = settings_of(mode, cassettes, options)
    if options.get("rt_priority") is not None:
        run_at(options["rt_priority"])

    ranks = settings.further_ranks(options.get("data_parallel_size", 1))
    two = settings.pair
    live = settings.upstream or (" ".join((*two.prefill, "→", *two.decode)) if two else "")

    def ready(_: App, addresses: Addresses) -> None:
        what = {
            Mode.RECORD: f"recording {live} onto",
            Mode.REPLAY: "replaying",
            Mode.AUTO: f"replaying, and recording {live} onto",
            Mode.SIMULATE: f"simulating {settings.simulation.model}",
        }[mode]
        if settings.simulation.fit is not None:
            _say_error_of_fit(settings.simulation.fit)
        admin = f"; admin {addresses.admin_url}" if addresses.admin_url else ""
        messages.info(
            f"{addresses.url} {' '.join((what, *map(str, cassettes)))}{admin}",
            url=addresses.url,
            admin_url=addresses.admin_url,
            pid=os.getpid(),
        )

    demands = RunPolicy(options.get("fail_unused", False), assert_resilient=options.get("assert_resilient", False))
    report_options = ending.ReportOptions(demands, options.get("report"), options.get("junit"))
    before = ending.begin(settings, report_options)
    with ExitStack() as log:
        access = log.enter_context(AccessLog()).add if _wants_access_log(options) else None
        wait = options.get("wait_upstream", 0.0)
        app = lifetime.serve(settings, ready, wait_upstream=wait, admin=serve_admin, access=access, ranks=ranks)
    reports = settings.plays or settings.faulting.is_on or report_options.report is not None
    if reports and app.last_report is not None:
        return ending.conclude(app.last_report, settings, report_options, before, trouble=app.control.trouble)
    _log_result(app)
    return 1 if app.control.trouble is not None else 0


def _wants_access_log(options: dict[str, Any]) -> bool:
    if options["quiet"]:
        return False
    if options["access_log"] is not None:
        return bool(options["access_log"])
    return sys.stderr.isatty()


def _say_error_of_fit(cassette: Path) -> None:
    """Log how well one half of the recorded requests predicts the latencies of the other."""
    from replayproxy.recorded_traffic import errors_of_fit

    for error in errors_of_fit(cassette):
        recorded, predicted = duration(error.recorded / 1e9), duration(error.predicted / 1e9)
        messages.info(
            f"fit: {error.name} {recorded} recorded, {predicted} predicted"
            f"{f' ({error.relative:+.1%})' if error.recorded else ''}",
            fit=error.name,
            recorded_ns=error.recorded,
            predicted_ns=error.predicted,
        )


def _log_result(app: App) -> None:
    """Log the result of a run that recorded."""
    control = app.control
    if not app.settings.records:
        messages.info("stopped")
        return
    if not control.recorded_files:
        messages.info("stopped before the upstream was there: nothing was recorded")
        return
    left = control.counters.endings["client_left"]
    broken = sum(control.counters.endings.values()) - control.counters.endings["complete"] - left
    dropped = sum(control.dropped.values())
    files = control.incident_files if control.keeps_window else control.recorded_files
    where = ", ".join(map(str, files)) or "no cassette, for there was no incident"
    messages.info(
        f"recorded {plural(control.recorded, 'exchange')} ({left} client_left, {broken} incomplete,"
        f" {dropped} dropped) onto {where}",
        recorded=control.recorded,
        client_left=left,
        incomplete=broken,
        dropped=dropped,
        cassettes=[str(path) for path in files],
    )
    if control.trouble is not None:
        messages.error(f"recording was degraded at the end: {control.trouble}")
