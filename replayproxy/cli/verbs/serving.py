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
    from replayproxy.assembly import Addresses, App
    from replayproxy.settings import Settings

PORT = Port()
FILE = click.Path(path_type=Path)


log_format = option(
    "--log-format",
    type=click.Choice(messages.FORMATS),
    default="text",
    help="What goes to stderr: text, or one JSON object per line with time and level.",
)

client_limits = all_of(
    option(
        "--header-timeout", type=Duration(), default="30s", help="Longest time for the head of a request; then 408."
    ),
    option("--body-timeout", type=Duration(), default="60s", help="Longest silence within a request's body; then 408."),
    option("--idle-timeout", type=Duration(), default="75s", help="Close a connection without a request after this."),
    option("--send-timeout", type=Duration(), default="60s", help="Cut a client that takes nothing for so long."),
    option(
        "--max-connections",
        type=click.IntRange(min=0),
        default=4096,
        help="Client connections at once; 0: no bound. Beyond it the one longest idle is closed, else 503.",
    ),
    option("--max-body", type=Size(), default="128MiB", help="Bytes of a request body that are kept and compared."),
)


def listening(*, port: int = 8080, admin_port: int | str = 8081) -> Callable[[F], F]:
    """Where to listen, and what a supervisor needs. The defaults differ so that verbs can run side by side."""
    return all_of(
        option("--host", default="127.0.0.1", help="Address to listen on."),
        option("-p", "--port", type=PORT, default=port, help="Port to listen on; 0 takes a free one."),
        option("--uds", type=FILE, help="Listen on a Unix domain socket instead."),
        option("--admin-host", default="127.0.0.1", help="Address of the admin port."),
        option("--admin-port", type=AdminPort(), default=admin_port, help="Port of /health, /ready and /metrics; off."),
        option(
            "--admin-allowed-host",
            multiple=True,
            metavar="NAME",
            help="The admin port may be called by this name too; by an address it always may. May be repeated.",
        ),
        option("--api-key-file", type=FILE, help="Clients must send the key in this file as a bearer token."),
        option("--ssl-keyfile", type=FILE, help="Serve HTTPS with this key."),
        option("--ssl-certfile", type=FILE, help="Serve HTTPS with this certificate."),
        option("--drain", type=Duration(), default="25s", help="On SIGTERM, let answers finish for so long."),
        client_limits,
        option("--ready-file", type=FILE, help="Write {url, admin_url, pid} here when ready; removed at the end."),
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
        help="When the prefill fails: tell the client, or let decode prefill by itself.",
    ),
    option("--pd-params", type=click.Choice(["six", "two"]), default="six", help="nixl: keys in the prefill request."),
    option(
        "--pd-remote-host",
        type=click.Choice(["keep", "url"]),
        default="keep",
        help="nixl: leave the ticket's remote_host, or put the host of the prefill's URL there.",
    ),
    option("--prefill-kv", multiple=True, metavar="HOST:PORT", help="addr-id: a prefill's connector. One a --prefill."),
    option("--decode-kv", multiple=True, metavar="HOST:PORT", help="addr-id: a decode's connector. One a --decode."),
    option("--bootstrap-port", type=PORT, default=8998, help="transfer-id, bootstrap-room: of the prefill servers."),
)

upstream_timeouts = all_of(
    option(
        "--upstream-timeout", type=Duration(), default="600s", help="Longest silence before an answer begins; then 504."
    ),
    option(
        "--stall-timeout", type=Duration(), default="300s", help="Longest silence within an answer; then it is cut."
    ),
    option(
        "--wait-upstream", type=Duration(), default="0s", help="Wait so long for the upstream to accept connections."
    ),
)

recording = all_of(
    option("--include", multiple=True, metavar="GLOB", help="Record only paths like this. May be repeated."),
    option("--exclude", multiple=True, metavar="GLOB", help="Do not record paths like this. May be repeated."),
    option("--sample", type=float, default=1.0, help="Record this share of the requests; forward all."),
    option(
        "--on-full",
        type=click.Choice(["drop", "block"]),
        default="drop",
        help="When the disk is too slow: drop whole exchanges, or let requests wait (for a minute, where it fails).",
    ),
    option("--queue-bytes", type=Size(), default="256MiB", help="What may wait to be written."),
    option(
        "--durability",
        type=click.Choice(["normal", "full"]),
        default="normal",
        help="full: a power cut loses nothing that was committed.",
    ),
    stored_fields,
    option(
        "--probe/--no-probe",
        default=True,
        help="When recording starts, ask the server for /v1/models and /version, which a replay then answers.",
    ),
)

pacing = all_of(
    option("--speed", type=Speed(), default="max", help="max, 1 as recorded, 2 twice as fast."),
    option("--allow-incomplete", is_flag=True, help="Also play answers that had broken; they break at the same byte."),
    option(
        "--stall",
        type=Duration(),
        default=f"{STALL:g}s",
        help="Hold an answer whose client had left open for so long; then it ends uncleanly.",
    ),
    option(
        "--cors",
        multiple=True,
        metavar="ORIGIN|*",
        help="Pages of this origin may read answers, also where the recorded server did not say so. May be repeated.",
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
    help="Run before everything ordinary (SCHED_FIFO), where permitted: an engine on the same cores starves us.",
)
@redacting
@matching
def record(cassette: Path, upstream: str | None, **options: Any) -> int:
    """Proxy to a live server, or to a prefill/decode pair, and record what passes onto CASSETTE.

    Clients get exactly what the server says, as it says it. The cassette is created, or recorded further.

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
    help="When no recording answers. refuse never opens a connection.",
)
@option(
    "--at-end",
    type=click.Choice(["cycle", "last", "refuse"]),
    default="cycle",
    help="After the last of several recordings of equal requests.",
)
@pacing
@redacting
@matching
@judging
@listening()
@upstream_timeouts
def replay(cassette: tuple[Path, ...], upstream: str | None, **options: Any) -> int:
    """Answer from the recordings on CASSETTE, byte for byte, chunk for chunk, and if wished on time.

    Equal requests get their recordings in order. Exit code 3: something was asked for that is not there.

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
    """Play what is on CASSETTE, record what is not.

    \b
    Example:
      replayproxy auto chat.cassette --upstream http://127.0.0.1:8000
    """
    return _serve(Mode.AUTO, (cassette,), options, upstream=upstream)


@click.command
@option("--model", default="simulated", help="Name of the one model served.")
@option("--ttft", type=Duration(), default="0ms", help="Time to first token.")
@option("--itl", type=Duration(), default="0ms", help="Inter-token latency.")
@option("--jitter", type=float, default=0.0, help="Standard deviation as a share of each latency.")
@option("--seed", type=click.IntRange(min=0), default=0, help="The same request and seed give the same answer.")
@listening(port=8000, admin_port="off")
def simulate(model: str, ttft: float, itl: float, jitter: float, seed: int, **options: Any) -> int:
    """Answer chat and completions as a vLLM would, with words that mean nothing, on time.

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
    # The server is loaded only when it is to run, not for --help and completion.
    from replayproxy import lifetime
    from replayproxy.cli.judging import ending
    from replayproxy.cli.judging.verdict import RunPolicy

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
    app = lifetime.serve(settings, ready, wait_upstream=options.get("wait_upstream", 0.0))
    if settings.plays and app.last_report is not None:
        return ending.conclude(app, wanted, before)
    _last_words(app)
    return 1 if app.trouble is not None else 0


def settings_from(mode: Mode, cassettes: tuple[Path, ...], options: dict[str, Any], upstream: str | None) -> Settings:
    """One frozen settings object out of what Click parsed. Raises `SettingsError`."""
    from replayproxy.api.options import settings_of

    admin_port = options["admin_port"]
    listening = {"upstream": upstream, "admin_port": None if admin_port < 0 else admin_port}
    return settings_of(mode, cassettes, options | listening)


def _last_words(app: App) -> None:
    """What became of it, to stderr."""
    if app.writer is None:
        messages.info("stopped")
        return
    if not app.onto:
        messages.info("stopped before the upstream was there: nothing was recorded")
        return
    left = app.tally.endings["client_left"]
    broken = sum(app.tally.endings.values()) - app.tally.endings["complete"] - left
    dropped = sum(app.writer.dropped.values())
    messages.info(
        f"recorded {plural(app.writer.recorded, 'exchange')} ({left} client_left, {broken} incomplete,"
        f" {dropped} dropped) onto {', '.join(map(str, app.onto))}",
        recorded=app.writer.recorded,
        client_left=left,
        incomplete=broken,
        dropped=dropped,
        cassettes=[str(path) for path in app.onto],
    )
    if app.trouble is not None:
        messages.error(f"recording was degraded at the end: {app.trouble}")
