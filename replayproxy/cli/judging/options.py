"""Options that judge a run, shared by `replay` and `exec`. Apart from `ending`, so that `--help` loads no server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from replayproxy.cli.options import F, option

FILE = click.Path(path_type=Path)


def judging(function: F) -> F:
    """Adds `--report`, `--junit` and `--fail-unused`."""
    options: tuple[Callable[[Any], Any], ...] = (
        option("--report", type=FILE, help="Write the result of the run to this file, as JSON."),
        option("--junit", type=FILE, help="Write the result of the run to this file, as JUnit XML."),
        option("--fail-unused", is_flag=True, help="Exit with 4 if a recording was not used."),
    )
    for one in reversed(options):
        function = one(function)
    return function
