"""`join`: make one cassette of two."""

from __future__ import annotations

from pathlib import Path

import click

from replayproxy.cassette.joining import join as join_cassettes

FILE = click.Path(path_type=Path)


@click.command(short_help="Join the cassettes of a prefill and a decode server.")
@click.argument("out", type=FILE)
@click.option("--prefill", type=FILE, required=True, help="Recorded in front of the prefill server.")
@click.option("--decode", type=FILE, required=True, help="Recorded in front of the decode server.")
def join(out: Path, prefill: Path, decode: Path) -> int:
    """Write OUT, with one exchange of two legs for each prefill and its decode.

    Record in front of each server of somebody else's pair, then join. Legs find each other by transfer id or room, by
    the id in the ticket, by X-Request-Id.

    \b
    Example:
      replayproxy join pair.cassette --prefill p.cassette --decode d.cassette
    """
    joined = join_cassettes(out, prefill, decode)
    click.echo(
        f"{out}: {joined.pairs} pairs; {joined.alone} decodes without a prefill, kept;"
        f" {joined.left} prefills without a decode, left out",
        err=True,
    )
    return 0


COMMANDS = (join,)
