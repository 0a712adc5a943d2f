"""`exec`: a replay for as long as a command runs, and a report when it is over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from replayproxy import lifetime
from replayproxy.assembly import Addresses, App
from replayproxy.cli import child
from replayproxy.cli.child import Signals
from replayproxy.cli.judging import ending
from replayproxy.cli.judging.verdict import Demands, Ended
from replayproxy.cli.matching import matching
from replayproxy.cli.options import AdminPort, Port, option
from replayproxy.cli.printing import messages
from replayproxy.cli.redacting import redacting, stored_fields
from replayproxy.cli.serving import log_format, pacing, settings_from, upstream_timeouts
from replayproxy.core.no_proxy import LOCAL, no_proxy_for
from replayproxy.core.policy import Mode
from replayproxy.settings import Settings

DRAIN = 2.0
"""Seconds for the answers that somebody still hears when the command has ended: a process it has left behind."""

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


class Wrapping(click.Command):
    """A verb that takes a command after `--`, and gets it as `command`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Ours before the first `--`, the command's after it."""
        split = args.index("--") if "--" in args else len(args)
        ours, command = args[:split], args[split + 1 :]
        if not command and not {"-h", "--help"} & set(ours):
            raise click.UsageError(
                "give the command after --, such as `replayproxy exec chat.cassette -- npm test`", ctx
            )
        rest = super().parse_args(ctx, ours)
        ctx.params["command"] = tuple(command)
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """With the command."""
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]


@click.command("exec", cls=Wrapping, short_help="Run a command against recordings, and judge the run.")
@click.argument("cassette", type=click.Path(path_type=Path), nargs=-1, required=True)
@option(
    "--on-miss",
    type=click.Choice(["refuse", "forward", "record"]),
    default="refuse",
    help="When no recording answers. record adds only what is missing.",
)
@option("--auto", is_flag=True, help="The same as --on-miss record.")
@option("--upstream", metavar="URL", help="The live server for --on-miss forward or record, without /v1.")
@ending.judging
@option("--allow-empty", is_flag=True, help="A run that asked for nothing is in order too.")
@option(
    "--at-end",
    type=click.Choice(["cycle", "last", "refuse"]),
    default="refuse",
    help="After the last of several recordings of equal requests.",
)
@pacing
@redacting
@stored_fields
@matching
@option("-p", "--port", type=Port(), default=0, help="Port to listen on; 0 takes a free one.")
@option(
    "--admin-port",
    type=AdminPort(),
    default="off",
    help="Port of /report, /misses and /metrics, for COMMAND's ctl to find in REPLAYPROXY_ADMIN; or off.",
)
@upstream_timeouts
@log_format
def exec_(
    cassette: tuple[Path, ...], command: tuple[str, ...], upstream: str | None, auto: bool, **options: Any
) -> int:
    """Run COMMAND with its LLM clients pointed at the recordings on CASSETTE; then say what was asked for.

    COMMAND gets OPENAI_BASE_URL, OPENAI_API_BASE, ANTHROPIC_BASE_URL and REPLAYPROXY_URL. No connection to a server is
    opened unless --on-miss says so. Exit code: the command's own where it is not 0; else 3 misses, 4 unused recordings
    with --fail-unused, 7 nothing was asked for.

    \b
    Examples:
      replayproxy exec tests/chat.cassette -- npm test
      replayproxy exec tests/chat.cassette --report run.json -- pytest -q
      replayproxy exec tests/chat.cassette --on-miss record \\
        --upstream http://127.0.0.1:8000 -- npm test
    """
    if auto:
        if options["on_miss"] == "forward":
            raise click.UsageError("--auto is --on-miss record: give one or the other")
        options["on_miss"] = "record"
    messages.use(options["log_format"])
    options |= {"host": LOCAL[0], "uds": None, "admin_host": LOCAL[0], "api_key_file": None, "drain": DRAIN}
    options |= {"ssl_keyfile": None, "ssl_certfile": None, "ready_file": None, "admin_allowed_host": ()}
    settings = settings_from(Mode.REPLAY, cassette, options, upstream)
    demands = Demands(options["fail_unused"], must_serve=not options["allow_empty"])
    wanted = ending.Wanted(demands, options["report"], options["junit"])
    before = ending.begin(settings, wanted)
    app, ended = _Run(settings, command, options["wait_upstream"]).to_its_end()
    if app is None:
        messages.error(ended.sentence, exit_code=ended.code)
        return ended.code
    return ending.conclude(app, wanted, before, ended)


COMMANDS = (exec_,)


class _Run:
    """One app and one command. A signal that no command is there to get ends what is going on."""

    def __init__(self, settings: Settings, command: tuple[str, ...], wait_upstream: float) -> None:
        self._settings = settings
        self._command = command
        self._wait_upstream = wait_upstream
        self._signal: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._app: App | None = None
        self._task: asyncio.Task[Any] | None = None
        self._signals = Signals(self._unclaimed)

    def to_its_end(self) -> tuple[App | None, Ended]:
        """Serve, run, stop, seal. Without an app: a signal came before the command was started."""
        try:
            return lifetime.on_loop(self._serve())
        except asyncio.CancelledError:
            number = self._signal or 0
            trouble = f"stopped by signal {number} before `{self._command[0]}` was started"
            return None, Ended(self._command, 128 + number, trouble=trouble)

    async def _serve(self) -> tuple[App, Ended]:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._signal is not None:
            raise asyncio.CancelledError
        async with lifetime.serving(self._settings, wait_upstream=self._wait_upstream) as (app, addresses):
            self._app = app
            ended = await child.run(self._command, child_variables(os.environ, addresses), self._signals)
        return app, ended

    def _unclaimed(self, number: int) -> None:
        """Called in the thread that hears signals."""
        self._signal = number
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        if self._signals.claimed and self._app is not None:  # the command is over: only hurry
            self._app.server.hurry()
        elif self._task is not None:
            self._task.cancel()


def child_variables(variables: Mapping[str, str], addresses: Addresses) -> dict[str, str]:
    """What the command gets to see: where the recordings are, some key, and that no proxy stands before them."""
    url = addresses.url
    told = dict(variables)
    told |= {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_BASE": f"{url}/v1"}
    told |= {"ANTHROPIC_BASE_URL": url, "REPLAYPROXY_URL": url}
    if addresses.admin_url is not None:
        told["REPLAYPROXY_ADMIN"] = addresses.admin_url
    for name in KEYS:  # an empty one is what CI gives for a secret that a fork may not have
        told[name] = told.get(name) or "replayproxy"
    return told | no_proxy_for(told)
