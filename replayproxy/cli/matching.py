"""Options that say which requests are equal, for the verbs that compare requests."""

from __future__ import annotations

import click

from replayproxy.cli.options import all_of, option
from replayproxy.core.identity.normalise import KNOWN

matching = all_of(
    option(
        "--match",
        "match",
        type=click.Choice(["default", "exact"]),
        default=None,
        help="Which requests count as equal: default, or exact. Without it: the rules of the cassette.",
    ),
    option(
        "--match-ignore", multiple=True, metavar="JSONPATH", help="Ignore this part of JSON bodies. May be repeated."
    ),
    option(
        "--match-normalise",
        multiple=True,
        metavar="NAME|NAME=REGEX",
        help=f"Replace by a placeholder before comparing: {', '.join(KNOWN)}, or a pattern (RE2). May be repeated.",
    ),
    option("--match-header", multiple=True, metavar="NAME", help="Compare this header field too. May be repeated."),
    option(
        "--match-defaults",
        is_flag=True,
        help="Treat a field with its documented default as absent: routers add such fields to every request.",
    ),
    option(
        "--match-from",
        type=click.Choice(["cassette", "flags"]),
        default=None,
        help="Which rules apply if cassette and options differ. Default: those of the options, with a warning.",
    ),
)
