"""Print the lower bound of every direct requirement in pyproject.toml as an exact version, one per line.

`make lowest` installs them and runs the tests with them. Not with uv's `lowest-direct`, which means the same: pip is
what a fresh machine has.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXTRAS = ("test",)
"""What the tests need. Nobody runs an old ruff or mypy."""

_LOWER = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*>=\s*(?P<version>[0-9][0-9.]*)[^;]*(?P<marker>;.*)?")


def direct(project: dict[str, Any]) -> Iterator[str]:
    """Every requirement of the package, of its tests and of its build backend, as pyproject.toml writes it."""
    yield from project["build-system"]["requires"]
    yield from project["project"]["dependencies"]
    for extra in EXTRAS:
        yield from project["project"]["optional-dependencies"][extra]


def pinned(requirement: str) -> str:
    """`click>=8.4` becomes `click==8.4`. Raises `ValueError` where there is no lower bound."""
    found = _LOWER.fullmatch(requirement)
    if found is None:
        raise ValueError(f"{requirement!r} in pyproject.toml has no lower bound: write NAME>=VERSION")
    return f"{found['name']}=={found['version']}{found['marker'] or ''}"


def main() -> None:
    """Print the requirements file."""
    project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))
    lines = [pinned(requirement) for requirement in direct(project)]
    sys.stdout.write("\n".join([*lines, "editables"]) + "\n")  # editables: what hatchling needs for --editable


if __name__ == "__main__":
    main()
