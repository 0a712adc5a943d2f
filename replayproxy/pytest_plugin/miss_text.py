"""The text of a failed test whose requests had no recording, and its misses as a report has them. Knows no proxy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from replayproxy.core.visible import visible_lines
from replayproxy.pytest_plugin import options
from replayproxy.views.miss import Miss

SHOWN_MISSES = 10
"""Different misses of one test that its failure explains."""


def explanation_of(miss: Miss) -> str:
    """The explanation of a miss, safe to print. Every text of the plugin about a miss goes through here."""
    return visible_lines(miss.explanation)


def miss_text(item: pytest.Item, cassette: str, misses: Sequence[Miss]) -> str:
    """The text for a test that missed: each different miss once, and the command that records what is missing."""
    root = item.config.rootpath
    different = list(dict.fromkeys(_from_root(explanation_of(miss), root) for miss in misses))
    number = "a request" if len(misses) == 1 else f"{len(misses)} requests"
    lines = [f"replayproxy: {number} of this test found no answer on {cassette}"]
    lines += different[:SHOWN_MISSES]
    if len(different) > SHOWN_MISSES:
        lines.append(f"and {len(different) - SHOWN_MISSES} more")
    if any(miss.nearest is not None for miss in misses):
        lines.append(
            "In a test these flags are words of its marker: @pytest.mark.replayproxy(match_ignore=[…],"
            " match_normalise=[…])"
        )
    allowed = "" if options.may_record(item.config) else " --replayproxy-allow-record"
    lines.append(f"Record what is missing: {command(item, 'new_episodes')}{allowed}")
    return "\n".join(lines)


def miss_documents(misses: Sequence[Miss], root: Path) -> list[dict[str, Any]]:
    """Misses as JSON objects, equal ones counted. Paths are those of the repository, wherever that is."""
    documents: dict[tuple[str, str], dict[str, Any]] = {}
    for miss in misses:
        document = documents.setdefault((miss.code, miss.key), {"times": 0, **miss.document()})
        document["times"] += 1
    counted: list[dict[str, Any]] = json.loads(_from_root(json.dumps(list(documents.values())), root))
    return counted


def command(item: pytest.Item, mode: str) -> str:
    """The command that runs this test in a mode."""
    return f"pytest '{item.nodeid}' --replayproxy-mode {mode} --replayproxy-upstream URL"


def _from_root(text: str, root: Path) -> str:
    return text.replace(f"{root}/", "")
