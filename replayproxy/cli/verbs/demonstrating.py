"""`demo`: parse options, run the demo, print. The demo itself is in the module `demo`, which is imported on use."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from replayproxy import output_files
from replayproxy.cli.options import plain_option
from replayproxy.cli.terminal.screen import on_stderr, on_stdout


@click.command
@plain_option(
    "--keep", type=click.Path(path_type=Path), help="Keep the cassette in this file instead of a temporary one."
)
@plain_option("--strict", is_flag=True, help="Fail if the replay is late: for machines that are otherwise idle.")
def demo(keep: Path | None, strict: bool) -> int:
    """Record a simulated vLLM, stop it, replay the recording, and compare bytes and times.

    Needs no GPU, no model and no network, and takes about fifteen seconds. The cassette is kept.

    \b
    Example:
      replayproxy demo --keep demo.cassette
      replayproxy ls demo.cassette
    """
    from replayproxy.cli.verbs.demo import next_steps, print_claims, rehearse

    if keep is not None:
        if keep.exists():
            raise click.UsageError(f"{keep} is there already: name another file for --keep")
        output_files.refuse(keep, "--keep")
    cassette = keep or Path(tempfile.mkdtemp(prefix="replayproxy-demo-")) / "demo.cassette"
    claims = rehearse(cassette)
    print_claims(claims, on_stdout())
    on_stderr().lines(next_steps(cassette))
    failed = any(claim.holds is False or (claim.holds is None and strict) for claim in claims)
    return 1 if failed else 0
