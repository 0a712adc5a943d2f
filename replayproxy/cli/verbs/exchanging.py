"""`export` and `import`: recordings for other programs, and recordings of other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replayproxy import output_files
from replayproxy.cli.filtering import choosing
from replayproxy.cli.format_name import FormatName
from replayproxy.cli.options import plain_option
from replayproxy.cli.setting_options import setting_options
from replayproxy.cli.terminal.byte_stream import byte_stream
from replayproxy.cli.terminal.screen import on_stderr
from replayproxy.views.port import ExchangeFilter
from replayproxy.views.units import plural

if TYPE_CHECKING:
    from replayproxy.api.importing import ImportedFiles
    from replayproxy.formats.format import Format, Notes

FILE = click.Path(path_type=Path)

WRITTEN, READ = FormatName(written=True), FormatName(written=False)

MOST_REASONS = 10
"""Reasons that are listed."""

BEATS = {
    "none": "the source has no times; all of an answer comes at once",
    "ends": "the source has only when an answer began and ended",
    "events": "the source has the time of each event, not of each chunk",
}
"""What the times of imported answers are worth."""


@click.command(name="export")
@click.argument("cassette", type=FILE)
@plain_option("--to", "format_name", type=WRITTEN, metavar="FORMAT", help=f"Format: {', '.join(WRITTEN.names)}.")
@plain_option("--html", "as_html", is_flag=True, help="Like --to html: one file to show, without scripts.")
@plain_option("-o", "--output", type=FILE, help="Write to this file instead of stdout.")
@plain_option("--base-url", default="http://127.0.0.1:8000", show_default=True, help="Server of curl and har requests.")
@plain_option("--bodies/--no-bodies", default=True, help="With parquet: bodies and header fields (default), or none.")
@plain_option("--strict", is_flag=True, help="Exit 5 if something was left out or estimated.")
@setting_options("export", "redact")
@choosing
def export(
    cassette: Path,
    *,
    format_name: str | None,
    as_html: bool,
    output: Path | None,
    base_url: str,
    bodies: bool,
    strict: bool,
    redact: tuple[str, ...],
    chosen: ExchangeFilter,
) -> int:
    """Write the exchanges of CASSETTE for another program.

    jsonl is lossless; what each of the others keeps is in docs/formats.md. Exchanges that have not ended are left out.
    What had to be left out or estimated is listed.

    \b
    Examples:
      replayproxy export chat.cassette --to jsonl -o chat.jsonl
      replayproxy export chat.cassette --to har -o e.har --where 'status >= 400'
      replayproxy export chat.cassette --to curl | sh
      replayproxy export chat.cassette --html -o chat.html
    """
    from replayproxy.api.exporting import CassetteExport
    from replayproxy.api.options import redaction_rules
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.cli.terminal.output import Output
    from replayproxy.formats.table import format_named

    if as_html and format_name not in (None, "html"):
        raise click.UsageError(f"--html and --to {format_name} are two formats: choose one")
    format_name = "html" if as_html else format_name
    if format_name is None:
        raise click.UsageError(f"name a format with --to: {', '.join(WRITTEN.names)}")
    to = format_named(format_name)
    if output is not None:
        output_files.refuse(output, "-o", (cassette,))
    elif to.is_binary and sys.stdout.isatty():
        raise click.UsageError(f"{to.name} is not text: send it into a pipe, or into a file with -o")
    with CassetteBrowser.open(cassette) as browser:
        work = CassetteExport(browser, to, chosen, redaction_rules(redact), base_url, bodies)
        if to.is_to_be_shown:
            work.refuse_secrets()
        with Output(path=output).opened(cassette) as stream:
            exported = work.write(byte_stream(stream))
    skipped = exported.notes.skipped.total()
    written = f"{exported.exchanges - skipped} of " if skipped else ""
    on_stderr().line(f"{output or cassette}: {written}{plural(exported.exchanges, 'exchange')} as {to.name}{_lost(to)}")
    if exported.in_flight:
        on_stderr().line(f"  left out: {plural(exported.in_flight, 'exchange')} that had not ended")
    _tell(exported.notes)
    return 5 if strict and exported.notes.has_losses else 0


def _lost(to: Format) -> str:
    return f"; it cannot hold: {', '.join(lost)}" if (lost := to.lost()) else ""


def _tell(notes: Notes) -> None:
    """What was left out and estimated, the most frequent first."""
    below = on_stderr()
    for heading, counted in (("left out", notes.skipped + notes.left_out), ("estimated", notes.estimated)):
        for reason, count in counted.most_common(MOST_REASONS):
            below.line(f"  {heading}: {reason} ({count})")
        if len(counted) > MOST_REASONS:
            below.line(f"  {heading}: and for {len(counted) - MOST_REASONS} more reasons")


@click.command(name="import")
@click.argument("out", type=FILE)
@click.argument("file", type=FILE, nargs=-1, required=True)
@plain_option(
    "--from",
    "format_name",
    type=READ,
    metavar="FORMAT",
    help=f"Format, guessed without it: {', '.join(READ.names)}.",
)
@plain_option("--split-events", is_flag=True, help="Cut a stream without times into a chunk per event.")
@setting_options("import", "redact")
def import_(
    out: Path, file: tuple[Path, ...], format_name: str | None, split_events: bool, redact: tuple[str, ...]
) -> int:
    """Write the cassette OUT with the recordings of each FILE, which another program has written.

    A folder stands for all files in it, and gzip is undone. Secrets are masked as they are when recording. What the
    files had lost is said and kept with the cassette: `beat: none` means that they have no times, so that a replay
    gives each answer at once; --ttft and --itl of `replay` give it times.

    \b
    Examples:
      replayproxy import chat.cassette chat.har
      replayproxy import chat.cassette tests/cassettes/ --split-events
      replayproxy import chat.cassette traffic.log --from jsonl
    """
    from replayproxy.api.importing import import_files
    from replayproxy.api.options import redaction_rules

    output_files.refuse(out, "OUT", file)
    imported = import_files(out, file, format_name, redact=redaction_rules(redact), split_events=split_events)
    formats = ", ".join(f"{name} ({plural(count, 'file')})" for name, count in imported.formats.items())
    on_stderr().line(f"{out}: {plural(imported.exchanges, 'exchange')} from {formats}")
    _tell_losses(imported)
    _tell(imported.notes)
    return 0


def _tell_losses(imported: ImportedFiles) -> None:
    """What the times are worth, and what else the files had lost."""
    below = on_stderr()
    for beat, count in imported.beats.items():
        if beat in BEATS:
            below.line(f"  beat: {beat} ({plural(count, 'exchange')}): {BEATS[beat]}")
    if imported.lost:
        below.line(f"  lost by the source: {', '.join(imported.lost)}")
    for path in imported.empty:
        below.line(f"  {path}: no exchange")
