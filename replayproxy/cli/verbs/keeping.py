"""`join` and `merge`: make one cassette of several; `compact`: make one smaller; `migrate`: to the newest format."""

from __future__ import annotations

from pathlib import Path

import click

from replayproxy import output_files
from replayproxy.cli.options import plain_option
from replayproxy.cli.terminal.progress import progress
from replayproxy.cli.terminal.screen import on_stderr
from replayproxy.cli.verbs.redacting import in_words
from replayproxy.views.units import plural, share, size

FILE = click.Path(path_type=Path)

SHOWN = 10
"""Requests with different answers that are listed."""


@click.command
@click.argument("out", type=FILE)
@plain_option("--prefill", type=FILE, required=True, help="Cassette recorded in front of the prefill server.")
@plain_option("--decode", type=FILE, required=True, help="Cassette recorded in front of the decode server.")
@plain_option(
    "--front", type=FILE, help="Cassette recorded in front of the router, with the requests and answers of its clients."
)
def join(out: Path, prefill: Path, decode: Path, front: Path | None) -> int:
    """Write OUT, with one exchange of two legs per pair of prefill and decode.

    Record in front of each server, behind another router, then join. Legs find each other by transfer id or room, by
    the id in the ticket, or by X-Request-Id. With --front, requests and answers are those of the router's clients,
    without the fields that a router adds.

    \b
    Example:
      replayproxy join pair.cassette --prefill p.cassette --decode d.cassette
      replayproxy join pair.cassette --front f.cassette --prefill p.cassette \\
        --decode d.cassette
    """
    from replayproxy.cassette.editing.join import join as join_cassettes  # not for --help and completion; so below

    output_files.refuse(out, "OUT", (prefill, decode) if front is None else (front, prefill, decode))
    with progress() as watch:
        joined = join_cassettes(out, prefill, decode, front, watch)
    if front is not None:
        on_stderr().line(
            f"{out}: {joined.pairs} pairs; {joined.alone} exchanges of the router without a pair, kept;"
            f" {joined.left} prefills and {joined.unseen} pairs that no client asked for, left out"
        )
        return 0
    on_stderr().line(
        f"{out}: {joined.pairs} pairs; {joined.alone} decodes without a prefill, kept;"
        f" {joined.left} prefills without a decode, left out"
    )
    return 0


@click.command
@click.argument("out", type=FILE)
@click.argument("cassette", type=FILE, nargs=-1, required=True)
def merge(out: Path, cassette: tuple[Path, ...]) -> int:
    """Write OUT with all exchanges of each CASSETTE, in their order: equal requests keep all their answers.

    Exchanges that are on several of them, because one began as a copy of another, are kept once. Equal requests with
    different answers are listed. OUT may be one of them.

    \b
    Example:
      replayproxy merge all.cassette monday.cassette tuesday.cassette
    """
    from replayproxy.cassette.editing.merge import merge as merge_cassettes

    if not any(out.exists() and part.exists() and out.samefile(part) for part in cassette):
        output_files.refuse(out, "OUT", cassette)
    with progress() as watch:
        merged = merge_cassettes(out, cassette, watch)
    again = f"; {merged.again} were on several and are there once" if merged.again else ""
    on_stderr().line(f"{out}: {plural(merged.exchanges, 'exchange')} of {plural(len(cassette), 'cassette')}{again}")
    if merged.left:
        on_stderr().line(f"  left out, because it is not a table of replayproxy: {in_words(merged.left)}")
    for conflict in merged.conflicts[:SHOWN]:
        answers = ", ".join(f"{short_id} ({part})" for part, short_id in conflict.answers)
        on_stderr().line(f"  answered differently: {conflict.method} {conflict.path}: {answers}")
    if len(merged.conflicts) > SHOWN:
        on_stderr().line(f"  and {len(merged.conflicts) - SHOWN} more requests that were answered differently")
    return 0


@click.command
@click.argument("cassette", type=FILE)
@plain_option("-o", "--output", type=FILE, help="Write the result to this file and leave CASSETTE unchanged.")
def compact(cassette: Path, output: Path | None) -> int:
    """Make CASSETTE as small as it gets: train its dictionaries again and pack everything with them.

    For cassettes that were recorded in many short runs, or from which much was deleted. Every exchange keeps its id and
    its times. The new file is verified and compared with the old one before it replaces it; where it is not smaller,
    the old one stays.

    \b
    Example:
      replayproxy compact chat.cassette
    """
    from replayproxy.cassette.editing.compact import compact as compact_cassette

    if output is not None:
        output_files.refuse(output, "-o")
    with progress() as watch:
        compacted = compact_cassette(cassette, output, watch)
    exchanges = f"{plural(compacted.exchanges, 'exchange')} verified"
    if not compacted.is_smaller and output is None:
        on_stderr().line(f"{cassette}: {exchanges}, as small as it gets ({size(compacted.before)}): left as it was")
        return 0
    saved = share(compacted.before - compacted.after, compacted.before)
    on_stderr().line(
        f"{output or cassette}: {exchanges}, {size(compacted.before)} -> {size(compacted.after)} ({saved} less)"
    )
    return 0


@click.command
@click.argument("cassette", type=FILE)
@plain_option("-o", "--output", type=FILE, help="Write the result to this file and leave CASSETTE unchanged.")
def migrate(cassette: Path, output: Path | None) -> int:
    """Rewrite CASSETTE in the newest format, with every exchange, id and time that it has.

    Cassettes of older formats can be read and replayed; to record on one, or to prune it, migrate it. The new file is
    verified and compared with the old one before it replaces it.

    \b
    Example:
      replayproxy migrate chat.cassette
    """
    from replayproxy.cassette.editing.migrate import migrate as migrate_cassette

    if output is not None:
        output_files.refuse(output, "-o")
    with progress() as watch:
        migrated = migrate_cassette(cassette, output, watch)
    if migrated.old == migrated.new:
        on_stderr().line(f"{output or cassette}: has format {migrated.new} already")
        return 0
    on_stderr().line(
        f"{output or cassette}: format {migrated.old} -> {migrated.new}, {plural(migrated.exchanges, 'exchange')}"
        f" verified, {size(migrated.before)} -> {size(migrated.after)}"
    )
    if migrated.kept:
        on_stderr().line(f"  kept unchanged, because it is not a table of replayproxy: {in_words(migrated.kept)}")
    if migrated.left:
        on_stderr().line(f"  left out: {in_words(migrated.left)}")
    return 0
