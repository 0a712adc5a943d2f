"""`check-wire`: what a gateway made of the answers that passed through it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from replayproxy.cli.filtering import choosing, opened
from replayproxy.cli.options import plain_option
from replayproxy.cli.setting_options import click_type
from replayproxy.cli.terminal.output import Form, Output, output_family
from replayproxy.cli.terminal.screen import Screen, Span
from replayproxy.setting_kinds import Duration
from replayproxy.views.port import ExchangeFilter
from replayproxy.views.units import count, duration, plural

if TYPE_CHECKING:
    from replayproxy.core.stats import Summary
    from replayproxy.views.wire_check import DifferingPair, WireReport

FILE = click.Path(path_type=Path)


@click.command("check-wire")
@click.argument("before", type=FILE)
@click.argument("behind", type=FILE)
@plain_option(
    "--max-added",
    type=click_type(Duration()),
    metavar="DURATION",
    help="The 99th percentile of added latency per chunk that is accepted, such as 5ms.",
)
@plain_option("-n", "--limit", type=click.IntRange(0), default=10, show_default=True, help="Differing pairs shown.")
@choosing
@output_family
def check_wire(
    before: Path, behind: Path, *, max_added: float | None, limit: int, chosen: ExchangeFilter, output: Output
) -> int:
    """Compare recordings made BEFORE and BEHIND a gateway: are bytes equal, were events held back, what was added.

    BEFORE is recorded between the server and the gateway, BEHIND between the gateway and its clients. Requests are
    joined by key and occurrence. Exit code 5: answers differ, events were held back, an exchange is on one side only,
    or --max-added is exceeded; 9: nothing could be compared.

    \b
    Examples:
      replayproxy check-wire server.cassette client.cassette
      replayproxy check-wire server.cassette client.cassette --max-added 5ms
    """
    if output.form in (Form.CSV, Form.TSV, Form.NL):
        raise click.UsageError("check-wire is one result, not rows: use --json")
    from replayproxy.views.wire_check import check_wire as compare

    with opened((before, behind), chosen) as (first, second):
        report = compare(first, second, chosen)
    code = report.exit_code(max_added)
    if output.is_for_people:
        with output.screen(before, behind) as screen:
            _page(report, screen, limit, max_added)
    else:
        output.value({**report.document(), "exit_code": code}, before, behind)
    return code


def _page(report: WireReport, screen: Screen, limit: int, max_added: float | None) -> None:
    if not report.pairs:
        screen.line("nothing was compared: no request is on both cassettes, or none has an answer on both")
    screen.line(f"pairs      {count(report.pairs)}, of which {count(report.equal)} have equal bytes")
    for rows, where in ((report.missing, "before"), (report.extra, "behind")):
        if rows:
            names = ", ".join(f"{row.id} {row.name}" for row in rows[:limit])
            more = f" and {count(len(rows) - limit)} more" if len(rows) > limit else ""
            screen.line(Span(f"only {where}", "bold red"), f"  {plural(len(rows), 'exchange')}: {names}{more}")
    longest = f", the longest for {duration(report.longest_hold_s)}" if report.held else ""
    style = "bold red" if report.held else ""
    screen.line(Span(f"events     {count(report.held)} of {count(report.events)} held back", style), longest)
    _latency("added      per chunk", report.added, screen, max_added)
    _latency("           first chunk", report.first_added, screen, None)
    for pair in report.differing[:limit]:
        _pair(pair, screen)
    if (more_pairs := len(report.differing) - limit) > 0:
        screen.line(f"… and {count(more_pairs)} more pairs; -n shows them")


def _latency(what: str, summary: Summary | None, screen: Screen, most: float | None) -> None:
    if summary is None:
        return
    p50, p99, largest = (duration(seconds) for seconds in (summary.p50, summary.p99, summary.max))
    over = most is not None and summary.p99 > most
    screen.line(
        f"{what.ljust(24)}p50 {p50}, ",
        Span(f"p99 {p99}", "bold red" if over else ""),
        f", max {largest}",
        f"; p99 is above --max-added {duration(most)}" if over and most is not None else "",
    )


def _pair(pair: DifferingPair, screen: Screen) -> None:
    screen.line()
    screen.line(Span(f"{pair.before.id} → {pair.behind.id}", "bold"), f"  {pair.before.name}")
    found = pair.difference
    if found is not None:
        where = {
            "status": "the status differs",
            "coding": "the content coding differs, so that bytes cannot be compared",
            "ending": "the ending differs",
            "length": f"one body ends at byte {found.at:,}",
            "bytes": f"bytes differ from {found.at:,} on",
        }[found.what]
        screen.under(where)
        for side, data in (("before", found.before), ("behind", found.behind)):
            screen.under(f"  {side}  {data.decode('utf-8', 'backslashreplace')!r}")
    if pair.held:
        screen.under(f"{plural(pair.held, 'event')} held back, for up to {duration(pair.longest_hold_s)}")
