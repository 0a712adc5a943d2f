"""`verify`: is a cassette what was written?"""

from __future__ import annotations

from pathlib import Path

import click

from replayproxy.cassette.verifying import verify as find_problems
from replayproxy.errors import CassetteError


@click.command(short_help="Is a cassette what was written?")
@click.argument("cassette", type=click.Path(path_type=Path), nargs=-1, required=True)
def verify(cassette: tuple[Path, ...]) -> int:
    """Read everything on CASSETTE and derive it again: pages, digests, keys, columns.

    Exit code 6: something is not what was written. Changes nothing.

    \b
    Example:
      replayproxy verify chat.cassette
    """
    worst = 0
    for path in cassette:
        try:
            exchanges, problems = find_problems(path)
        except CassetteError as error:
            click.echo(f"{path}: {error}")
            worst = max(worst, error.exit_code)
            continue
        for problem in problems:
            click.echo(f"{path}: {problem.where + ': ' if problem.where else ''}{problem.what}")
        if problems:
            worst = 6
        else:
            click.echo(f"{path}: {exchanges} exchanges, all as they were written")
    return worst


COMMANDS = (verify,)
