"""`stats`: parse options, read, print. Apart from `verbs`, because its options are those of the statistics."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from replayproxy.cli.filtering import choosing, opened
from replayproxy.cli.options import plain_option
from replayproxy.cli.terminal import messages, statistics_table
from replayproxy.cli.terminal.output import Output, output_family
from replayproxy.cli.terminal.screen import on_stderr
from replayproxy.views import statistics
from replayproxy.views.port import ExchangeFilter
from replayproxy.views.units import count, plural

FILE = click.Path(path_type=Path)


@click.command
@click.argument("cassette", type=FILE, nargs=-1)
@plain_option(
    "--by",
    type=click.Choice(list(statistics.GROUPINGS)),
    default="model",
    show_default=True,
    help="How answers are grouped.",
)
@plain_option(
    "--exact", is_flag=True, help=f"Read the gaps of every stream, also if there are more than {statistics.ENOUGH:,}."
)
@plain_option("--explain", is_flag=True, help="Explain each number.")
@choosing
@output_family
def stats(
    cassette: tuple[Path, ...], *, by: str, exact: bool, explain: bool, chosen: ExchangeFilter, output: Output
) -> None:
    """Measure the answers on CASSETTE: time to first token, gaps, time per token, totals, and concurrency.

    Data formats have one row per distribution, with seconds as floats.

    \b
    Examples:
      replayproxy stats chat.cassette
      replayproxy stats monday.cassette tuesday.cassette --by cassette
      replayproxy stats chat.cassette --where 'prompt_tokens > 1000' --json
    """
    if explain:
        with output.screen(*cassette) as screen:
            statistics_table.explained(screen)
        return
    if not cassette:
        raise click.UsageError("name a cassette, such as: replayproxy stats chat.cassette")
    with opened(cassette, chosen) as browsers:
        groups = statistics.gather(browsers, chosen, by, exact=exact, watch=_say_how_long)
    if not output.is_for_people:
        output.rows(statistics.FIELDS, statistics.data_rows(groups), *cassette)
        return
    names = str(cassette[0]) if len(cassette) == 1 else plural(len(cassette), "cassette")
    with output.screen(*cassette) as screen:
        width = screen.width if output.trunc else None
        statistics_table.page(groups, names, screen, width=width, headers=output.headers)
    on_stderr().line("What each number means:  replayproxy stats --explain")


def _say_how_long(streams: int) -> None:
    """A silence of more than a second is announced to those who watch."""
    if streams > 5000 and sys.stderr.isatty():
        messages.info(f"reading the times of {count(streams)} streams, about {streams // 5000} s …")
