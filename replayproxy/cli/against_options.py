"""`drive --against A --against B`: runs at two servers by turns, each onto a cassette of its own, and their judgement.

A B A B …   so that what drifts on the machine touches both; then `compare` decides by the ratios of the runs
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replayproxy.cli.options import F, plain_option
from replayproxy.cli.terminal import messages
from replayproxy.errors import SettingsError

if TYPE_CHECKING:
    from replayproxy.load_run import LoadResult, LoadRun

SIDES = ("a", "b")

UNDECIDABLE = (7, 9)
"""Exit codes of a run whose times say nothing: nothing was answered, or it is incomplete, or the driver was late."""


def against_options(function: F) -> F:
    """Two servers, and what must hold between them."""
    options: tuple[Callable[[Any], Any], ...] = (
        plain_option(
            "--against",
            multiple=True,
            metavar="SERVER",
            help="Two servers, in place of --upstream: URLs, the first one is what the second is judged by.",
        ),
        plain_option(
            "--repeat", type=click.IntRange(1), default=5, show_default=True, help="With --against: runs at each."
        ),
        plain_option(
            "--gate", "gates", multiple=True, metavar="CONDITION", help="With --against: as `compare` has it."
        ),
        plain_option(
            "--level",
            type=click.Choice(["bytes", "frames", "canonical", "text", "structure", "none"]),
            default="structure",
            show_default=True,
            help="With --against: how far answers must agree.",
        ),
        plain_option(
            "--noise",
            type=click.Choice(["auto", "off"]),
            default="auto",
            show_default=True,
            help="With --against: measure how much the runs at the first server differ.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def servers_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The URLs of `--upstream` or `--against`. Raises `click.UsageError` where they do not fit together."""
    against: tuple[str, ...] = options["against"]
    if (options["upstream"] is None) == (not against):
        raise click.UsageError("give --upstream URL, or --against URL twice")
    if not against:
        if options["gates"]:
            raise click.UsageError("--gate is for --against: judge one run with `replayproxy compare`")
        return (options["upstream"],)
    if len(against) != len(SIDES):
        raise click.UsageError(f"--against is given {len(against)} times: give the two servers to be compared")
    if options["scenario"] is not None:
        raise click.UsageError("--against needs a CASSETTE: run the scenario at each server with --upstream")
    if options["output"] is None and not options["dry_run"]:
        raise click.UsageError("--against records each run: name a new folder with -o")
    return against


def folder_of_runs(output: Path) -> Path:
    """The folder for the cassettes of the runs. Raises `SettingsError` where it has runs already."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SettingsError(f"{output} is there already: name a new folder for the cassettes of the runs with -o")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{output} cannot be made: {error.strerror}") from error
    return output


def interleaved(
    run: LoadRun, servers: Sequence[str], options: Mapping[str, Any], driven: Callable[[LoadRun, str], LoadResult]
) -> int:
    """Carry out all runs by turns, then judge them. Returns the exit code of `compare`, or that of a bad run."""
    from replayproxy.cli.terminal.drive_page import result_page
    from replayproxy.cli.terminal.screen import on_stderr

    folder = folder_of_runs(options["output"])
    cassettes: list[Path] = []
    for number in range(1, options["repeat"] + 1):
        # Both runs of a pair send the same bytes: salts and request ids come from the id of the run.
        changes = replace(run.changes, run=f"{run.changes.run}-{number}")
        for side, server in zip(SIDES, servers, strict=True):
            cassette = folder / f"{number}-{side}.cassette"
            title = f"run {number} at {server}"
            one = replace(run, upstream=server, output=cassette, changes=changes)
            result = driven(one, f"{title}: ")
            code, why = result.summary.verdict
            if code in UNDECIDABLE:
                result_page(result.summary, on_stderr())
                messages.error(f"{title}: {why}; nothing is judged", exit_code=code)
                return code
            messages.info(f"{title}: {why}")
            cassettes.append(cassette)
    return judged(cassettes, options)


def judged(cassettes: Sequence[Path], options: Mapping[str, Any]) -> int:
    """What `compare` says of the pairs."""
    from replayproxy.cli.verbs.comparing import compare

    noise = "auto" if options["noise"] == "auto" and options["repeat"] > 1 else None
    code: int = click.get_current_context().invoke(
        compare,
        cassette=tuple(cassettes),
        gates=options["gates"],
        level=options["level"],
        noise=noise,
        as_json=options["as_json"],
    )
    return code
