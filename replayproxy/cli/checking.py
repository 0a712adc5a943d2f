"""`verify`: is a cassette what was written?"""

from __future__ import annotations

from pathlib import Path

import click

from replayproxy.cassette.scanning import scan
from replayproxy.cassette.verifying import Problem
from replayproxy.cassette.verifying import verify as find_problems
from replayproxy.cli.redacting import redacting, rules_from
from replayproxy.errors import CassetteError


@click.command(short_help="Is a cassette what was written?")
@click.argument("cassette", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--secrets", is_flag=True, help="Look for secrets too, in everything unpacked.")
@redacting
def verify(cassette: tuple[Path, ...], secrets: bool, redact: tuple[str, ...]) -> int:
    """Read everything on CASSETTE and derive it again: pages, digests, keys, columns.

    Exit code 6: something is not what was written; or, with --secrets, it holds one. Changes nothing.

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
        problems += _leaks(path, rules_from(redact)) if secrets and not problems else []
        for problem in problems:
            click.echo(f"{path}: {problem.where + ': ' if problem.where else ''}{problem.what}")
        if problems:
            worst = 6
        else:
            click.echo(
                f"{path}: {exchanges} exchanges, all as they were written{', no secret found' if secrets else ''}"
            )
    return worst


def _leaks(path: Path, rules: tuple[str, ...]) -> list[Problem]:
    """Where secrets are, and of which kind; never what they are."""
    return [
        Problem(leak.where, f"{leak.field} holds a secret ({leak.kind}): take it out with `replayproxy redact {path}`")
        for leak in scan(path, rules)
    ]


COMMANDS = (verify,)
