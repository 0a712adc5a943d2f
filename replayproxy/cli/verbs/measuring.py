"""`stats`: parse options, read, print, judge. Apart from `reading`, because its options are those of the statistics."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import click

from replayproxy import output_files
from replayproxy.cli.filtering import choosing, opened
from replayproxy.cli.options import plain_option
from replayproxy.cli.terminal import messages, statistics_table
from replayproxy.cli.terminal.output import Output, output_family
from replayproxy.cli.terminal.progress import progress
from replayproxy.cli.terminal.screen import on_stderr
from replayproxy.views import assertion, gap_sample, statistics
from replayproxy.views.assertion import Finding
from replayproxy.views.port import ExchangeFilter
from replayproxy.views.statistics import Group
from replayproxy.views.units import plural

FILE = click.Path(path_type=Path)

DIFFERENT = 5
"""Exit code of a claim that does not hold."""


@click.command
@click.argument("cassette", type=FILE, nargs=-1)
@plain_option(
    "--by",
    type=click.Choice(list(statistics.GROUPINGS)),
    default="model",
    show_default=True,
    help="How answers are grouped. A leg is what a server of a prefill/decode pair answered.",
)
@plain_option(
    "--exact",
    is_flag=True,
    help=f"Read the gaps of every stream, also if there are more than {gap_sample.MOST:,}, and round no time.",
)
@plain_option(
    "--assert",
    "claims",
    multiple=True,
    metavar="CLAIM",
    help="Fail with exit code 5 unless this holds for every group, such as 'ttft.p99<500ms' or 'errors == 0'.",
)
@plain_option("--html", type=FILE, help="Also write a page with histograms to this file; it needs no network.")
@plain_option("--explain", is_flag=True, help="Explain each number.")
@choosing
@output_family
def stats(
    cassette: tuple[Path, ...],
    *,
    by: str,
    exact: bool,
    claims: tuple[str, ...],
    html: Path | None,
    explain: bool,
    chosen: ExchangeFilter,
    output: Output,
) -> int:
    """Measure the answers on CASSETTE: time to first token, gaps, time per token, totals, and concurrency.

    Data formats have one row per distribution, with seconds as floats. A claim of --assert compares a figure (avg, min,
    p50, p90, p95, p99, max, std) of ttft, gap, tpot, total, output_tokens, prefill, handover or decode_ttft, or the
    numbers exchanges, errors, requests_per_s and output_tokens_per_s.

    \b
    Examples:
      replayproxy stats chat.cassette
      replayproxy stats monday.cassette tuesday.cassette --by cassette
      replayproxy stats chat.cassette --where 'prompt_tokens > 1' --json
      replayproxy stats chat.cassette --assert 'ttft.p99<30s'
      replayproxy stats chat.cassette --html stats.html
    """
    if explain:
        with output.screen(*cassette) as screen:
            statistics_table.explained(screen)
        return 0
    if not cassette:
        raise click.UsageError("name a cassette, such as: replayproxy stats chat.cassette")
    if html is not None:
        output_files.refuse(html, "--html", cassette)
    read = [assertion.read_claim(claim) for claim in claims]
    with opened(cassette, chosen) as browsers, progress() as watch:
        groups = statistics.gather(browsers, chosen, by, exact=exact, watch=watch)
    findings = assertion.judge(read, groups)
    names = str(cassette[0]) if len(cassette) == 1 else plural(len(cassette), "cassette")
    if html is not None:
        _write_page(html, names, groups, findings, cassette)
    if not output.is_for_people:
        output.rows(statistics.FIELDS, statistics.data_rows(groups), *cassette)
    else:
        with output.screen(*cassette) as screen:
            width = screen.width if output.trunc else None
            statistics_table.page(groups, names, screen, width=width, headers=output.headers)
        on_stderr().line("What each number means:  replayproxy stats --explain")
    return _judged(findings)


def _write_page(
    path: Path, names: str, groups: Sequence[Group], findings: Sequence[Finding], inputs: Sequence[Path]
) -> None:
    from replayproxy.views import statistics_page

    style = (files("replayproxy.views.charts") / "charts.css").read_text("utf-8")
    with output_files.writing(path, "--html", inputs) as file:
        file.write(statistics_page.page(names, groups, findings, style).encode())
    messages.info(f"{path}: written")


def _judged(findings: Sequence[Finding]) -> int:
    """Say what became of each claim."""
    for finding in findings:
        if finding.holds:
            messages.info(str(finding))
        else:
            messages.error(str(finding))
    return 0 if all(finding.holds for finding in findings) else DIFFERENT
