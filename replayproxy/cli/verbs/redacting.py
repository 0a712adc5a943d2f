"""`redact`: rewrite a cassette without secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from replayproxy import output_files
from replayproxy.cli.options import plain_option
from replayproxy.cli.setting_options import setting_options
from replayproxy.cli.terminal.progress import progress
from replayproxy.cli.terminal.screen import on_stderr
from replayproxy.views.units import plural

FILE = click.Path(path_type=Path)


@click.command
@click.argument("cassette", type=FILE)
@setting_options("redact", "redact")
@plain_option("-o", "--output", type=FILE, help="Write the result to this file and leave CASSETTE unchanged.")
def redact(cassette: Path, redact: tuple[str, ...], output: Path | None) -> int:
    """Rewrite CASSETTE without keys of known formats and without what the rules describe.

    Every exchange gets a new key and digest, dictionaries are trained anew, and the result is searched before it takes
    the old file's place. Credentials of old requests were not stored, so name those that answers repeat with a rule.

    \b
    Example:
      replayproxy redact chat.cassette --redact '$.metadata.email' \\
        --redact 're:cust-[0-9]{6}'
    """
    # Not for --help and completion.
    from replayproxy.api.options import redaction_rules
    from replayproxy.cassette.editing.redact import redact as rewrite

    if output is not None:
        output_files.refuse(output, "-o")
    with progress() as watch:
        redacted = rewrite(cassette, redaction_rules(redact), output, watch)
    on_stderr().line(
        f"{output or cassette}: {plural(redacted.exchanges, 'exchange')} written anew, {_kinds(redacted.masked)};"
        " searched again: no secret found"
    )
    if redacted.left:
        on_stderr().line(f"  left out, because it cannot be searched: {in_words(redacted.left)}")
    return 0


def in_words(foreign: Sequence[tuple[str, str]]) -> str:
    """What is not ours on a cassette, in words."""
    return ", ".join(f"{kind} {name}" for kind, name in foreign)


def _kinds(masked: Counter[str]) -> str:
    kinds = ", ".join(f"{kind} {times}" for kind, times in masked.most_common())
    return f"masked: {kinds}" if kinds else "nothing to mask"
