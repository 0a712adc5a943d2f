"""`exec`: a replay for as long as a command runs, and a report when it is over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replayproxy.cli.option_sections import SectionedCommand
from replayproxy.cli.setting_options import setting_options
from replayproxy.cli.terminal import messages
from replayproxy.core.no_proxy import LOCAL
from replayproxy.core.policy import Mode

DRAIN = 2.0
"""Seconds for answers in flight when the command has ended: it may have left a process behind."""


class Wrapping(SectionedCommand):
    """A verb that takes a command after `--`, and gets it as `command`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Ours before the first `--`, the command's after it."""
        split = args.index("--") if "--" in args else len(args)
        ours, command = args[:split], args[split + 1 :]
        if "--auto" in ours:
            raise click.UsageError("exec has no --auto: write --on-miss record", ctx)
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


@click.command("exec", cls=Wrapping)
@click.argument("cassette", type=click.Path(path_type=Path), nargs=-1, required=True)
@setting_options(
    "exec",
    "miss",
    "server",
    "judge",
    "end",
    "pace",
    "fail",
    "simulate",
    "redact",
    "record",
    "match",
    "listen",
    "timeouts",
    "log",
)
def exec_(cassette: tuple[Path, ...], command: tuple[str, ...], **options: Any) -> int:
    """Run COMMAND with its LLM clients directed to the recordings on CASSETTE; then report what was requested.

    COMMAND gets OPENAI_BASE_URL, OPENAI_API_BASE, ANTHROPIC_BASE_URL and REPLAYPROXY_URL. No connection to a server is
    opened unless --on-miss asks for it. Exit code: that of the command if it is not 0; else 3 if a request had no
    recording, 4 if a recording was not used (--fail-unused), 7 if there was no request, 8 if the command mishandled an
    injected fault (--assert-resilient).

    \b
    Examples:
      replayproxy exec tests/chat.cassette -- npm test
      replayproxy exec tests/chat.cassette --report run.json -- pytest -q
      replayproxy exec tests/chat.cassette --fail cut@12 --assert-resilient \\
        -- npm test
      replayproxy exec tests/chat.cassette --on-miss record \\
        --upstream http://127.0.0.1:8000 -- npm test
    """
    # Imported here, because --help and completion do not need the server.
    from replayproxy.api.options import settings_of
    from replayproxy.cli.command_run import CommandRun
    from replayproxy.cli.judging import ending
    from replayproxy.proxy.verdict import RunPolicy

    messages.use(options["log_format"])
    options |= {"host": LOCAL[0], "admin_host": LOCAL[0], "drain": DRAIN}
    settings = settings_of(Mode.REPLAY, cassette, options)
    demands = RunPolicy(
        options["fail_unused"], must_serve=not options["allow_empty"], assert_resilient=options["assert_resilient"]
    )
    report_options = ending.ReportOptions(demands, options["report"], options["junit"])
    before = ending.begin(settings, report_options)
    with CommandRun(settings, command, options["wait_upstream"]) as run:
        server, ended = run.to_its_end()
        if server is None:
            messages.error(ended.sentence, exit_code=ended.code)
            return ended.code
        return ending.conclude(server.report(), settings, report_options, before, ended=ended, trouble=server.trouble)
