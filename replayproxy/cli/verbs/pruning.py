"""`prune`: delete the recordings that a report names as unused, or that an SQL condition chooses.

A run that failed or served nothing does not show that a recording is unused: its report is refused, and so is that of
another cassette.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replayproxy import output_files
from replayproxy.cli.filtering import choosing
from replayproxy.cli.options import plain_option
from replayproxy.cli.terminal.progress import progress
from replayproxy.cli.terminal.screen import Screen, on_stderr
from replayproxy.cli.verbs.redacting import in_words
from replayproxy.core.visible import visible
from replayproxy.errors import ReplayProxyError
from replayproxy.views.port import ExchangeFilter, ExchangeRow, RowOrder
from replayproxy.views.units import plural, size

if TYPE_CHECKING:
    from replayproxy.cli.judging.receipt import ReportFile

FILE = click.Path(path_type=Path)

SHOWN = 10


@click.command
@click.argument("cassette", type=FILE)
@plain_option(
    "--unused", type=FILE, metavar="REPORT", help="Delete the recordings that this report of a run lists as unused."
)
@choosing
@plain_option("--dry-run", is_flag=True, help="Only print what would be deleted.")
@plain_option("--yes", is_flag=True, help="Delete without asking.")
@plain_option("-o", "--output", type=FILE, help="Write the result to this file and leave CASSETTE unchanged.")
def prune(
    cassette: Path, unused: Path | None, *, chosen: ExchangeFilter, dry_run: bool, yes: bool, output: Path | None
) -> int:
    """Delete recordings from CASSETTE: those that the run of REPORT did not use, or those that --where selects.

    With both, a recording must meet both. REPORT comes from --report of exec or replay, from --replayproxy-report of
    pytest, or from /report of an admin port; the report of a run that failed, served nothing, or played another
    cassette is refused.

    \b
    Examples:
      replayproxy exec chat.cassette --report run.json -- npm test
      replayproxy prune chat.cassette --unused run.json --dry-run
      replayproxy prune chat.cassette --where 'status >= 500' --yes
    """
    # Cassettes are read only when the verb runs, not for --help and completion.
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.cassette.editing.prune import prune as delete

    if unused is None and chosen.is_everything:
        raise click.UsageError("say which recordings: --unused REPORT, or --where SQL")
    if output is not None:
        output_files.refuse(output, "-o")
    with CassetteBrowser.open(cassette) as browser:
        browser.check(chosen)
        rows = list(browser.rows(replace(chosen, finished=True), RowOrder("number")))
        if unused is not None:
            everything = rows if chosen.is_everything else browser.rows(ExchangeFilter(finished=True))
            unused_numbers = set(_named(unused, cassette, list(everything)))
            rows = [row for row in rows if row["number"] in unused_numbers]
        there = browser.count()
    screen = on_stderr()
    if not rows:
        screen.prose(f"{cassette}: nothing to delete")
        return 0
    of = f"{len(rows)} of {plural(there, 'recording')}"
    if dry_run:
        screen.prose(f"{cassette}: would delete {of}")
        _tell(rows, screen)
        return 0
    if output is None and not yes:
        _ask(f"{cassette}: delete {of}?", rows, screen)
    with progress() as watch:
        done = delete(cassette, [row["number"] for row in rows], output, watch)
    screen.prose(
        f"{output or cassette}: {done.deleted} deleted, {done.kept} kept, {size(done.before)} -> {size(done.after)}"
    )
    if done.foreign:
        screen.prose(f"  kept unchanged, because it is not a table of replayproxy: {in_words(done.foreign)}")
    return 0


def _tell(rows: Sequence[ExchangeRow], screen: Screen) -> None:
    for row in rows[:SHOWN]:
        screen.line(f"  {row['id']}  {row['method']} {row['path']}")
    if len(rows) > SHOWN:
        screen.line(f"  … and {len(rows) - SHOWN} more")


def _ask(question: str, rows: Sequence[ExchangeRow], screen: Screen) -> None:
    """Raises `click.Abort` for a no."""
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"refusing to delete without confirmation ({question}): stdin is not a terminal. Use --yes, or --dry-run to"
            " see what would be deleted"
        )
    _tell(rows, screen)
    click.confirm(visible(question), abort=True, err=True)


# The report


def _named(path: Path, cassette: Path, rows: Sequence[ExchangeRow]) -> Iterator[int]:
    """Yield the numbers of the recordings that a report names as unused.

    Raises `ReplayProxyError` if the report does not prove that they are.
    """
    from replayproxy.cassette.file_digest import file_digest
    from replayproxy.cli.judging import receipt

    report = receipt.ReportFile.read(path)
    _refuse_unproven(path, report)
    digest = file_digest(cassette)
    names = {played for played, of_run in report.result.digests.items() if of_run == digest}
    if not names:
        raise ReplayProxyError(
            f"{path} is not about {cassette} as it is now (its SHA-256 differs): make the run again with --report, or"
            " give the cassette that it was made with"
        )
    if names & report.not_judged.keys():
        why = next(why for name, why in report.not_judged.items() if name in names)
        raise ReplayProxyError(f"{path} does not say what is unused on {cassette} ({why}): run all of its tests")
    occurrences: dict[tuple[str, str], set[int]] = {}
    for recording in report.result.unused:
        if recording.cassette in names:
            occurrences.setdefault((recording.id, recording.place.key), set()).add(recording.place.occurrence)
    by_id: dict[str, list[ExchangeRow]] = {}
    for row in rows:
        by_id.setdefault(row["id"], []).append(row)
    for (name, key), places in occurrences.items():
        found = by_id.get(name, [])
        if len(found) > 1:  # one answer to one request, recorded twice; or, by chance, two ids alike
            found = [row for row in found if row["key"] == key]
        if len(found) < len(places):
            raise ReplayProxyError(
                f"{path} names {name}, which is not a recording of {cassette} that can be told apart: choose by --where"
            )
        # Between equal recordings the place decides, which several cassettes in one run may have moved.
        found.sort(key=lambda row: (row["occurrence"] not in places, -row["number"]))
        yield from (row["number"] for row in found[: len(places)])


def _refuse_unproven(path: Path, report: ReportFile) -> None:
    """Raises `ReplayProxyError` unless the run passed, served something and had no misses."""
    if report.exit_code not in (0, 4) or report.verdict not in ("passed", "unused"):
        raise ReplayProxyError(
            f"{path} is of a run that failed ({report.verdict}, exit code {report.exit_code}): what it did not"
            " use may still be needed; make it pass, then prune"
        )
    if report.result.causes or report.result.unexplained:
        raise ReplayProxyError(f"{path} is of a run with misses: make it pass, then prune")
    if not report.result.served:
        raise ReplayProxyError(f"{path} is of a run that served nothing: make a run that uses recordings")
