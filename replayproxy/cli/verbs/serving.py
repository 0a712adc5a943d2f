"""`record`, `replay`, `auto`: parse options, start an app, say where it is, and what became of it at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replayproxy.cli.judging.options import judging
from replayproxy.cli.matching import matching
from replayproxy.cli.options import AdminPort, Duration, F, Port, Size, Speed, all_of, option
from replayproxy.cli.priority import run_at
from replayproxy.cli.terminal import messages
from replayproxy.cli.verbs.redacting import redacting, stored_fields
from replayproxy.core.pd import PROTOCOLS
from replayproxy.core.policy import Mode
from replayproxy.core.timing import STALL
from replayproxy.views.units import plural

if TYPE_CHECKING:
    from replayproxy.app import Addresses, App
    from replayproxy.settings import Settings

PORT = Port()
FILE = click.Path(path_type=Path)


log_format = option(
    "--log-format",
    type=click.Choice(messages.FORMATS),
    default="text",
    help="Format of the messages on stderr: text, or one JSON object per line with time and level.",
)

client_limits = all_of(
    option(
        "--header-timeout",
        type=Duration(),
        default="30s",
        help="Maximum time for a client to send the head of a request; then 408.",
    ),
    option("--body-timeout", type=Duration(), default="60s", help="Maximum silence within a request body; then 408."),
    option(
        "--idle-timeout", type=Duration(), default="75s", help="Close a client connection that is idle for this long."
    ),
    option(
        "--send-timeout",
        type=Duration(),
        default="60s",
        help="Disconnect a client that does not read its answer for this long.",
    ),
    option(
        "--max-connections",
        type=click.IntRange(min=0),
        default=4096,
        help="Maximum client connections; 0: no limit. Above it the one that is idle longest is closed, else 503.",
    ),
    option(
        "--max-body",
        type=Size(),
        default="128MiB",
        help="Maximum bytes of a request body that are recorded and compared.",
    ),
)


def listening(*, port: int = 8080, admin_port: int | str = 8081) -> Callable[[F], F]:
    """Where to listen, and what a supervisor needs. The defaults differ so that verbs can run side by side."""
    return all_of(
        option("--host", default="127.0.0.1", help="Address to listen on."),
        option("-p", "--port", type=PORT, default=port, help="Port to listen on; 0 takes a free one."),
        option("--uds", type=FILE, help="Listen on a Unix domain socket instead."),
        option("--admin-host", default="127.0.0.1", help="Address of the admin port."),
        option(
            "--admin-port",
            type=AdminPort(),
            default=admin_port,
            help="Port of /health, /ready, /metrics and control; or off.",
        ),
        option(
            "--admin-allowed-host",
            multiple=True,
            metavar="NAME",
            help="Another host name of the admin port, besides IP addresses and localhost. May be repeated.",
        ),
        option("--api-key-file", type=FILE, help="Clients must send the key in this file as a bearer token."),
        option("--ssl-keyfile", type=FILE, help="Serve HTTPS with this key."),
        option("--ssl-certfile", type=FILE, help="Serve HTTPS with this certificate."),
        option(
            "--drain", type=Duration(), default="25s", help="After SIGTERM, maximum time for running answers to finish."
        ),
        client_limits,
        option(
            "--ready-file",
            type=FILE,
            help="Write {url, admin_url, pid} to this file when ready; it is removed at the end.",
        ),
        log_format,
    )


pair = all_of(
    option("--prefill", multiple=True, metavar="URL", help="A prefill server of a pair. May be repeated."),
    option("--decode", multiple=True, metavar="URL", help="A decode server of a pair. May be repeated."),
    option("--pd", type=click.Choice(PROTOCOLS), default="nixl", help="How prefill and decode find each other."),
    option(
        "--on-prefill-error",
        type=click.Choice(["fail", "decode"]),
        default="fail",
        help="When the prefill fails: return the error to the client, or let the decode server prefill.",
    ),
    option(
        "--pd-params",
        type=click.Choice(["six", "two"]),
        default="six",
        help="nixl: number of keys in the prefill request.",
    ),
    option(
        "--pd-remote-host",
        type=click.Choice(["keep", "url"]),
        default="keep",
        help="nixl: keep the remote_host of the prefill's answer, or replace it by the host of the prefill's URL.",
    ),
    option(
        "--prefill-kv",
        multiple=True,
        metavar="HOST:PORT",
        help="addr-id: connector address of a prefill server, one per --prefill.",
    ),
    option(
        "--decode-kv",
        multiple=True,
        metavar="HOST:PORT",
        help="addr-id: connector address of a decode server, one per --decode.",
    ),
    option(
        "--bootstrap-port",
        type=PORT,
        default=8998,
        help="transfer-id, bootstrap-room: bootstrap port of the prefill servers.",
    ),
)

upstream_timeouts = all_of(
    option(
        "--upstream-timeout", type=Duration(), default="600s", help="Maximum time until an answer begins; then 504."
    ),
    option(
        "--stall-timeout", type=Duration(), default="300s", help="Maximum silence within an answer; then it is cut."
    ),
    option(
        "--wait-upstream",
        type=Duration(),
        default="0s",
        help="Maximum time to wait at the start until the upstream accepts connections.",
    ),
)

recording = all_of(
    option(
        "--include", multiple=True, metavar="GLOB", help="Record only requests whose path matches. May be repeated."
    ),
    option(
        "--exclude", multiple=True, metavar="GLOB", help="Do not record requests whose path matches. May be repeated."
    ),
    option("--sample", type=float, default=1.0, help="Record this share of the requests (0 to 1); all are forwarded."),
    option(
        "--on-full",
        type=click.Choice(["drop", "block"]),
        default="drop",
        help="When the disk is too slow: drop whole exchanges, or make requests wait (one minute if it fails).",
    ),
    option("--queue-bytes", type=Size(), default="256MiB", help="Maximum size of the queue of the writer."),
    option(
        "--durability",
        type=click.Choice(["normal", "full"]),
        default="normal",
        help="full: a power failure loses nothing that was committed; normal: it may lose the last second.",
    ),
    stored_fields,
    option(
        "--probe/--no-probe",
        default=True,
        help="When recording starts, request /v1/models and /version, so that a replay can answer them.",
    ),
)

pacing = all_of(
    option("--speed", type=Speed(), default="max", help="max: as fast as possible; 1: as recorded; 2: twice as fast."),
    option("--allow-incomplete", is_flag=True, help="Also play incomplete answers; they break at the same byte."),
    option(
        "--stall",
        type=Duration(),
        default=f"{STALL:g}s",
        help="How long an answer whose client had left is held open; then it ends uncleanly.",
    ),
    option(
        "--cors",
        multiple=True,
        metavar="ORIGIN|*",
        help="Web pages of this origin may read answers, even if the server did not allow it. May be repeated.",
    ),
)


@click.command
@click.argument("cassette", type=FILE)
@option("--upstream", metavar="URL", help="The live server, without /v1.")
@pair
@listening()
@upstream_timeouts
@recording
@option(
    "--rt-priority",
    type=click.IntRange(1, 99),
    help="Real-time priority (SCHED_FIFO), if permitted, for a recorder that shares its cores with an engine.",
)
@redacting
@matching
def record(cassette: Path, upstream: str | None, **options: Any) -> int:
    """Forward to a live server, or to a prefill/decode pair, and record requests and answers on CASSETTE.

    Clients get exactly what the server sends, when it sends it. An existing cassette is continued.

    \b
    Examples:
      replayproxy record chat.cassette --upstream http://127.0.0.1:8000
      replayproxy record pair.cassette --prefill http://127.0.0.1:8100 \\
        --decode http://127.0.0.1:8200
      OPENAI_BASE_URL=http://127.0.0.1:8080/v1 python my_client.py
    """
    return _serve(Mode.RECORD, (cassette,), options, upstream=upstream)


@click.command
@click.argument("cassette", type=FILE, nargs=-1, required=True)
@option("--upstream", metavar="URL", help="A live server for --on-miss forward or record.")
@option(
    "--on-miss",
    type=click.Choice(["refuse", "forward", "record"]),
    default="refuse",
    help="What to do with a request that has no recording. refuse never opens a connection.",
)
@option(
    "--at-end",
    type=click.Choice(["cycle", "last", "refuse"]),
    default="cycle",
    help="What follows the last recording of equal requests: the first again, the last again, or a miss.",
)
@pacing
@redacting
@matching
@judging
@listening()
@upstream_timeouts
def replay(cassette: tuple[Path, ...], upstream: str | None, **options: Any) -> int:
    """Answer from the recordings on CASSETTE, byte for byte, chunk for chunk, and with --speed at the recorded times.

    Equal requests get their recordings in order. Exit code 3: a request had no recording.

    \b
    Example:
      replayproxy replay chat.cassette --speed 1
    """
    return _serve(Mode.REPLAY, cassette, options, upstream=upstream)


@click.command
@click.argument("cassette", type=FILE)
@option("--upstream", metavar="URL", help="The live server, without /v1.")
@pair
@pacing
@listening()
@upstream_timeouts
@recording
@redacting
@matching
def auto(cassette: Path, upstream: str | None, **options: Any) -> int:
    """Answer from the recordings on CASSETTE, and record what is missing.

    \b
    Example:
      replayproxy auto chat.cassette --upstream http://127.0.0.1:8000
    """
    return _serve(Mode.AUTO, (cassette,), options, upstream=upstream)


@click.command
@option("--model", default="simulated", help="Name of the model.")
@option("--ttft", type=Duration(), default="0ms", help="Time to first token.")
@option("--itl", type=Duration(), default="0ms", help="Inter-token latency.")
@option("--jitter", type=float, default=0.0, help="Standard deviation of latencies, as a share of each.")
@option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Seed of answers and latencies: the same request and seed give the same answer.",
)
@listening(port=8000, admin_port="off")
def simulate(model: str, ttft: float, itl: float, jitter: float, seed: int, **options: Any) -> int:
    """Answer chats and completions as vLLM does, with meaningless text at the given latencies.

    \b
    Example:
      replayproxy simulate --model tiny --ttft 200ms --itl 20ms --jitter 0.1
    """
    options |= {"model": model, "ttft": ttft, "itl": itl, "jitter": jitter, "seed": seed}
    return _serve(Mode.SIMULATE, (), options)


def _serve(
    mode: Mode,
    cassettes: tuple[Path, ...],
    options: dict[str, Any],
    *,
    upstream: str | None = None,
) -> int:
    # Imported here, because --help and completion do not need the server.
    from replayproxy import lifetime
    from replayproxy.admin.service import serve_admin
    from replayproxy.cli.judging import ending
    from replayproxy.proxy.verdict import RunPolicy

    messages.use(options["log_format"])
    settings = settings_from(mode, cassettes, options, upstream)
    if options.get("rt_priority") is not None:
        run_at(options["rt_priority"])

    two = settings.pair
    live = settings.upstream or (" ".join((*two.prefill, "→", *two.decode)) if two else "")

    def ready(_: App, addresses: Addresses) -> None:
        what = {
            Mode.RECORD: f"recording {live} onto",
            Mode.REPLAY: "replaying",
            Mode.AUTO: f"replaying, and recording {live} onto",
            Mode.SIMULATE: f"simulating {settings.simulation.model}",
        }[mode]
        admin = f"; admin {addresses.admin_url}" if addresses.admin_url else ""
        messages.info(
            f"{addresses.url} {' '.join((what, *map(str, cassettes)))}{admin}",
            url=addresses.url,
            admin_url=addresses.admin_url,
            pid=os.getpid(),
        )

    demands = RunPolicy(fail_unused=options.get("fail_unused", False))
    wanted = ending.ReportOptions(demands, options.get("report"), options.get("junit"))
    before = ending.begin(settings, wanted)
    app = lifetime.serve(settings, ready, wait_upstream=options.get("wait_upstream", 0.0), admin=serve_admin)
    if settings.plays and app.last_report is not None:
        return ending.conclude(app.last_report, settings, wanted, before, trouble=app.control.trouble)
    _log_result(app)
    return 1 if app.control.trouble is not None else 0


def settings_from(mode: Mode, cassettes: tuple[Path, ...], options: dict[str, Any], upstream: str | None) -> Settings:
    """Build the settings from the parsed options. Raises `SettingsError`."""
    from replayproxy.api.options import settings_of

    admin_port = options["admin_port"]
    listening = {"upstream": upstream, "admin_port": None if admin_port < 0 else admin_port}
    return settings_of(mode, cassettes, options | listening)


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
    messages.info(
        f"recorded {plural(control.recorded, 'exchange')} ({left} client_left, {broken} incomplete,"
        f" {dropped} dropped) onto {', '.join(map(str, control.recorded_files))}",
        recorded=control.recorded,
        client_left=left,
        incomplete=broken,
        dropped=dropped,
        cassettes=[str(path) for path in control.recorded_files],
    )
    if control.trouble is not None:
        messages.error(f"recording was degraded at the end: {control.trouble}")
