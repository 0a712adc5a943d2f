"""Which requests are the same, as flags: for the verbs that compare requests."""

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
        help="What counts as the same request. Default: the cassette's own rules.",
    ),
    option(
        "--match-ignore", multiple=True, metavar="JSONPATH", help="Ignore this part of request bodies. May be repeated."
    ),
    option(
        "--match-normalise",
        multiple=True,
        metavar="NAME|NAME=REGEX",
        help=f"Compare as a placeholder: {', '.join(KNOWN)}, or a pattern of your own (RE2). May be repeated.",
    ),
    option("--match-header", multiple=True, metavar="NAME", help="Compare this header too. May be repeated."),
    option(
        "--match-defaults",
        is_flag=True,
        help="A field with its documented default is as good as none: routers add some to every request.",
    ),
    option(
        "--match-from",
        type=click.Choice(["cassette", "flags"]),
        default=None,
        help="Whose rules, where both have some. Default: the flags', with a warning.",
    ),
)
