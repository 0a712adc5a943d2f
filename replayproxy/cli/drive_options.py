"""The options of `drive`, in three groups, and the header fields that they name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replayproxy.cli.options import F, plain_option
from replayproxy.cli.setting_options import Read
from replayproxy.setting_kinds import Duration

if TYPE_CHECKING:
    from replayproxy.model import Headers

FILE = click.Path(path_type=Path)
DURATION = Read(Duration(), "duration")
POSITIVE = click.FloatRange(0, min_open=True)


def arrival_options(function: F) -> F:
    """When requests are sent."""
    return _added(
        function,
        plain_option("--speed", type=POSITIVE, default=1.0, show_default=True, help="How many times as fast."),
        plain_option("--rate", type=POSITIVE, help="Requests per second, in place of the recorded times."),
        plain_option(
            "--arrivals",
            default="poisson",
            show_default=True,
            metavar="constant|poisson|gamma:K",
            help="How --rate is spread; gamma below 1 makes bursts.",
        ),
        plain_option(
            "--concurrency", type=click.IntRange(1), help="So many users, each with one session after the other."
        ),
        plain_option(
            "--ramp-up", type=DURATION, default="0s", help="Let the rate grow, or the users begin, within this time."
        ),
        plain_option("--ramp-from", type=click.FloatRange(0), default=0.0, help="The rate at which --ramp-up begins."),
        plain_option(
            "--turns",
            type=click.Choice(["recorded", "think", "none"]),
            default="recorded",
            show_default=True,
            help="A later turn of a session is sent at its time, but after the answer before it; after the recorded"
            " pause; or without waiting.",
        ),
        plain_option("--think-speed", type=POSITIVE, help="How many times as short pauses are; default: --speed."),
        plain_option("--loops", type=click.IntRange(1), default=1, help="How often the recording is sent, in turn."),
        plain_option("--copies", type=click.IntRange(1), default=1, help="How often it is sent at the same time."),
        plain_option("--copy-offset", type=DURATION, default="0s", help="Time between the beginnings of two copies."),
        plain_option("--max-idle-gap", type=DURATION, help="The longest time without an arrival."),
        plain_option("--seed", type=int, default=0, show_default=True, help="Of drawn arrivals."),
    )


def change_options(function: F) -> F:
    """What is changed in a request."""
    return _added(
        function,
        plain_option(
            "--history",
            type=click.Choice(["recorded", "live"]),
            default="recorded",
            show_default=True,
            help="Which answers later turns contain; tool results are bound to the live calls.",
        ),
        plain_option(
            "--model", "models", multiple=True, metavar="OLD=NEW", help="Another model; NEW alone is for all requests."
        ),
        plain_option(
            "--set", "sets", multiple=True, metavar="NAME=VALUE", help="A field of each body, such as temperature=0."
        ),
        plain_option(
            "--header",
            "headers",
            multiple=True,
            metavar="NAME=VALUE",
            help="A header field of each request; NAME=@VARIABLE takes it from the environment. Not recorded.",
        ),
        plain_option("--api-key-env", metavar="VARIABLE", help="Send the key in this variable as a bearer token."),
        plain_option(
            "--max-tokens-from-recording",
            is_flag=True,
            help="Force answers to be as long as recorded: max_tokens and ignore_eos.",
        ),
        plain_option(
            "--allow-unforced", is_flag=True, help="With it, send requests whose length cannot be forced as they are."
        ),
        plain_option(
            "--salt",
            type=click.Choice(["run", "loop", "session", "request"]),
            help="Begin prompts with characters of their own, so that no prefix cache has them.",
        ),
        plain_option("--run-id", metavar="TEXT", help="Of request ids and salts; default: the time."),
        plain_option("--no-cancel", is_flag=True, help="Do not leave where the recorded client left."),
    )


def safety_options(function: F) -> F:
    """What a run may do, and what it prints."""
    return _added(
        function,
        plain_option("--dry-run", is_flag=True, help="Print the plan and send nothing."),
        plain_option("--yes", is_flag=True, help="Send to a server that is not on this machine."),
        plain_option("--budget-requests", type=click.IntRange(1), help="Send no more requests than that."),
        plain_option("--budget-tokens", type=click.IntRange(1), help="Stop before more tokens than that are used."),
        plain_option("--max-in-flight", type=click.IntRange(1), help="Let further requests wait; shown apart."),
        plain_option("--drop-late", type=DURATION, help="Do not send a request that is later than this."),
        plain_option(
            "--max-lateness",
            type=DURATION,
            default="100ms",
            show_default=True,
            help="Lateness (p99) above which the driver was the bottleneck: exit code 9.",
        ),
        plain_option(
            "--grace", type=DURATION, default="10s", show_default=True, help="After Ctrl-C, time for what is in flight."
        ),
        plain_option("--upstream-timeout", type=DURATION, default="600s", help="Maximum silence before an answer."),
        plain_option("--stall-timeout", type=DURATION, default="300s", help="Maximum silence within an answer."),
        plain_option("--wait-upstream", type=DURATION, default="0s", help="Time to wait until the server accepts."),
        plain_option("--save-results", type=FILE, help="Write a row per request: CSV, or JSON lines for .jsonl."),
        plain_option("--json", "as_json", is_flag=True, help="Print the result as JSON; seconds as floats."),
    )


def _added(function: F, *options: Callable[[Any], Any]) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def fields_of_options(options: Mapping[str, Any]) -> Headers:
    """The header fields of `--header` and `--api-key-env`. Raises `click.UsageError`, which quotes no value."""
    from replayproxy.core.redaction.credentials import names_credential
    from replayproxy.core.upstream_fields import BadField, fields_of

    for text in options["headers"]:
        name, _, value = text.partition("=")
        if names_credential(name.strip()) and not value.strip().startswith("@"):
            raise click.UsageError(
                f"--header {name.strip()} holds a credential, which every list of processes would show: write"
                f" {name.strip()}=@VARIABLE, or use --api-key-env"
            )
    try:
        fields = fields_of(options["headers"], os.environ)
    except BadField as error:
        raise click.UsageError(f"--header {error}") from None
    variable = options["api_key_env"]
    if variable is None:
        return fields
    if not os.environ.get(variable):
        raise click.UsageError(f"--api-key-env: ${variable} is not set: set it, or name another variable")
    return (*fields, ("Authorization", f"Bearer {os.environ[variable].strip()}"))
